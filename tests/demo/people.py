"""The demo portal's people and cards, written as people really keep them (docs/numbers.md, docs/demo.md)."""

from tests.fake_bitrix24 import FakePortal

# The title of a lead, its name, and its phones: look at what its tab offers, and at what it says about the rest.
LEADS: dict[str, tuple[str, list[str]]] = {
    "Words after the number": ("Uwe", ["030 901820 privat", "Tel.: +49 171 1234567 (Anna)", "+81 90-1234-5678 携帯"]),
    "Extensions": (
        "Olga",
        ["+78129990000#4048", "+7 495 123-45-67 доб. 12", "+1 212 555 0146 ext. 5", "030 901820 w.104"],
    ),
    "Signs nobody sees": ("Yael", ["\u202a+49\u00a030\u200e901820\u202c", "＋４９ ３０ ９０１８２１", "٠٣٠ ٩٠١٨٢٢"]),
    "A wrong plus": ("Pavel", ["+030 901820", "++49 (0)30 901821", "+8 (495) 123-45-67"]),
    "Two numbers in one field": ("Eva", ["+49 30 901820 / +49 171 1234567", "030 901820/21", "+49 30 901823"]),
    "Another country": ("Luz", ["+53 5 2345678", "+52 1 55 1234 5678", "79161234567"]),
    "Unreadable, or never dialled": ("Vanity", ["+49 30 9O1820", "0800 REIFEN", "+44 70 1234 5678", "110"]),
}


def settle(portal: FakePortal) -> None:
    """Fill the portal: leads and a deal to call, and cards as people really keep them."""
    # A portal in Germany, so that its national numbers are known.
    portal.language, crm = "de", portal.crm
    clara = crm.add_lead("Question about the price list", "Clara", ["+49 30 901820"])
    crm.add_activity(1, clara, "+49 30 901821", "Missed call")
    crm.add_lead("Wants to be called back", "Igor", [("+7 495 123-45-67", "MOBILE"), ("+44 20 7946 0018", "WORK")])
    crm.add_lead("No number yet", "Jean")
    marta = crm.add_contact("Marta", "Keller", ["+41 44 668 18 00"])
    crm.add_deal("Delivery in spring", contact_id=marta)
    crm.add_item(crm.add_type(1042, "Repairs"), "A door that does not close", (marta,))
    for title, (name, phones) in LEADS.items():
        crm.add_lead(title, name, phones)
    # A returning customer: the lead points to people, and has no number of its own.
    company = crm.add_company("Berliner Backwaren GmbH", ["030 901840 Zentrale"])
    rosa = crm.add_contact("Rosa", "Lind", ["030 / 90 18 41", "none yet"], company_id=company)
    crm.add_lead("Orders again: only a contact", "Rosa", contacts=(rosa,))
    crm.add_lead("Orders again: only a company", company_id=company)
    crm.add_deal("Bread for the fair", rosa, company, more=(marta,))
    # Asked for by +7 900 123-45-67 on the website, this card is found, and no second one is made.
    crm.add_contact("Irina", "Wolkowa", ["8 (900) 123-45-67"])
