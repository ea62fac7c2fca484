"""Tables of what is refused: where a refusal changes nothing, all rows of a table meet one world."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

Test = Callable[..., None]


def rows_in_one_world(names: str | tuple[str, ...], rows: Iterable[Any]) -> Callable[[Test], Test]:
    """Like ``pytest.mark.parametrize``, but one test for the whole table: a world of its own for a row costs its time.

    Every row is tried; each that fails is told with its values. Use it where no row changes what the next one meets.
    """
    keys = (names,) if isinstance(names, str) else names
    table = [dict(zip(keys, (row,) if isinstance(names, str) else row, strict=True)) for row in rows]

    def decorate(test: Test) -> Test:
        def whole(**given: Any) -> None:
            failed: list[Exception] = []
            for row in table:
                try:
                    test(**given, **row)
                except Exception as error:
                    error.add_note(f"row: {str(row)[:500]}")
                    failed.append(error)
            if failed:
                raise ExceptionGroup(f"{len(failed)} of {len(table)} rows", failed)

        signature = inspect.signature(test)
        kept = [parameter for name, parameter in signature.parameters.items() if name not in keys]
        whole.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in kept]
        )
        whole.__name__, whole.__doc__, whole.__module__ = test.__name__, test.__doc__, test.__module__
        return whole

    return decorate
