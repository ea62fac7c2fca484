"""The consent of a form in each language, instead of one text for all of them."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0026"
down_revision: str | None = "0025"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

LANGUAGES = ("en", "ru")
FORM = sa.table(
    "form",
    sa.column("id", sa.Integer()),
    sa.column("consent_text", sa.Text()),
    sa.column("consent_texts", sa.JSON(none_as_null=True)),
)


def upgrade() -> None:
    """Apply: visitors go on to see what they see now, in every language."""
    op.add_column("form", sa.Column("consent_texts", sa.JSON(), nullable=True))
    asked = sa.select(FORM.c.id, FORM.c.consent_text).where(FORM.c.consent_text.is_not(None))
    for id, text in op.get_bind().execute(asked).all():
        op.execute(FORM.update().where(FORM.c.id == id).values(consent_texts=dict.fromkeys(LANGUAGES, text)))
    op.drop_column("form", "consent_text")


def downgrade() -> None:
    """Revert: the text of the first language is that of all."""
    op.add_column("form", sa.Column("consent_text", sa.Text(), nullable=True))
    for id, texts in op.get_bind().execute(sa.select(FORM.c.id, FORM.c.consent_texts)).all():
        if texts:
            op.execute(FORM.update().where(FORM.c.id == id).values(consent_text=next(iter(texts.values()))))
    op.drop_column("form", "consent_texts")
