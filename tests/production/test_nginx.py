"""What nginx with the site that is shipped lets through, limits, and writes down."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection

import pytest

from tests.production.machine import temporary
from tests.production.nginx import COMPANY, HOME, NGINX, Site, as_user, eventually, serving

pytestmark = pytest.mark.skipif(NGINX is None, reason="needs nginx: run .ci/servers")
BEHIND = """daemon off; pid {folder}/pid; error_log {folder}/log; {as_user}
events {{}}
http {{ {temporary} access_log off; set_real_ip_from 127.0.0.0/8; real_ip_header Test-Address; include {folder}/site; }}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("nginx")
    conf = BEHIND.format(folder=folder, as_user=as_user(folder), temporary=temporary(folder))
    with serving(folder, conf) as made:
        yield made


def test_the_app_reads_the_address_that_nginx_saw_and_none_that_was_sent(site: Site) -> None:
    assert site.ask("GET", "/", X_Forwarded_For="203.0.113.9", X_Request_ID="made-up-by-a-visitor") == 200
    assert site.headers["X-Forwarded-For"] == COMPANY
    assert site.headers["X-Forwarded-Proto"] == "https"
    assert site.headers["X-Forwarded-Host"] == site.headers["Host"] == f"localhost:{site.https}"
    assert len(site.headers["X-Request-ID"]) == 32
    assert site.ask("GET", "/", address=HOME) == 200
    assert site.headers["X-Forwarded-For"] == HOME


@pytest.mark.parametrize(
    ("method", "path", "count", "refused"),
    [
        ("POST", "/w/form/callbacks", 60, range(25, 31)),
        ("GET", "/w/form", 60, range(1)),
        ("GET", "/w/form", 250, range(20, 150)),
        ("HEAD", "/w/form/slots", 250, range(20, 150)),
        ("GET", "/c/link", 250, range(20, 150)),
        ("POST", "/c/link/reschedule", 60, range(25, 31)),
        ("POST", "/c/link/cancel", 60, range(25, 31)),
        # A company's people behind one address.
        ("POST", "/c/link/cancel", 30, range(1)),
        ("GET", "/w/form/widget.js", 250, range(1)),
        ("POST", "/", 200, range(20, 101)),
        ("POST", "/install", 200, range(20, 201)),
        ("POST", "/placement", 200, range(20, 201)),
        ("GET", "/placement", 200, range(1)),
        ("POST", "/events", 1200, range(1)),
        ("POST", "/robot", 1200, range(1)),
        ("POST", "/api/v1/numbers/read", 300, range(1)),
    ],
)
def test_an_address_is_limited_where_strangers_come_in_and_another_one_is_not(
    site: Site, method: str, path: str, count: int, refused: range
) -> None:
    site.visitors += 1
    answers = site.flood(method, path, count, f"127.0.1.{site.visitors}")
    assert answers[429] in refused, answers
    assert answers[200] + answers[429] == count
    assert site.flood(method, path, 1, HOME) == {200: 1}


def test_the_addresses_of_an_ipv6_network_are_limited_together(site: Site) -> None:
    def asked_from(network: str) -> Counter[int]:
        # Line feeds, NULs and bytes that are no UTF-8 are addresses, too.
        ends = [f"{number:x}:a0a:0:ffff" for number in range(60)]
        return Counter(site.ask("POST", "/w/form/callbacks", Test_Address=f"{network}:{end}") for end in ends)

    assert asked_from("2001:db8:a0a:1")[429] in range(25, 31)
    assert asked_from("2001:db8:a0a:2")[429] in range(25, 31)


def test_ipv4_addresses_that_are_written_as_ipv6_are_limited_each_for_itself(site: Site) -> None:
    def asked_from(address: str) -> Counter[int]:
        return Counter(site.ask("POST", "/w/form/callbacks", Test_Address=address) for _ in range(60))

    # Line feeds, NULs and bytes that are no UTF-8 are addresses, too.
    assert asked_from("::ffff:203.10.0.255")[429] in range(25, 31)
    assert asked_from("::ffff:203.10.0.254")[429] in range(25, 31)


def test_a_request_comes_through_as_a_whole_or_not_at_all(site: Site) -> None:
    with closing(site.connect()) as connection:
        connection.putrequest("POST", "/api/v1/slow")
        connection.putheader("Content-Length", "1000")
        connection.endheaders(b"x" * 999)
        time.sleep(0.3)
        assert "POST /api/v1/slow" not in site.upstream.seen
        connection.send(b"x")
        assert connection.getresponse().status == 200
    assert site.ask("POST", "/api/v1/large", b"x" * 262145) == 413
    assert "POST /api/v1/large" not in site.upstream.seen


def test_what_was_perhaps_done_is_not_asked_again(site: Site) -> None:
    assert site.ask("POST", "/dies") == 502
    assert site.upstream.seen.count("POST /dies") == 1


def test_whoever_asks_and_leaves_keeps_a_place_until_the_app_has_answered(site: Site) -> None:
    stranger, places = "127.0.3.1", 200
    for _ in range(places):
        with closing(site.connect(stranger)) as connection:
            connection.request("GET", "/waits")
    eventually(lambda: site.upstream.seen.count("GET /waits") == places)
    assert site.ask("GET", "/", address=stranger) == 429
    assert site.ask("GET", "/", address=HOME) == 200
    site.upstream.goes_on.set()
    eventually(lambda: site.ask("GET", "/", address=stranger) == 200)


def test_http_leads_to_https_but_for_the_proof_of_the_domain(site: Site) -> None:
    for path, status in (("/w/form?page=1", 308), ("/.well-known/acme-challenge/none", 404)):
        with closing(HTTPConnection("127.0.0.1", site.http, timeout=10)) as connection:
            connection.request("GET", path, headers={"Host": "localhost"})
            answer = connection.getresponse()
            assert answer.status == status
            if status == 308:
                assert answer.headers["Location"] == f"https://localhost:{site.https}{path}"


FOREIGN = ("b" * 64, ".a", "other.example.com", "127.0.0.1", "[::1]", "localhost.example.com", "xlocalhost")


@pytest.mark.parametrize("host", FOREIGN)
def test_the_app_sees_no_request_under_another_name_but_health_checks(site: Site, host: str) -> None:
    site.upstream.seen.clear()
    assert [site.ask("GET", path, Host=host) for path in ("/", "/w/form", "/desk/x")] == [421] * 3
    assert site.ask("POST", "/events", b"a=1", Host=f"{host}:443") == 421
    assert not site.upstream.seen
    assert [site.ask("GET", path, Host=host) for path in ("/healthz", "/readyz")] == [200, 200]


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "localhost:8443", "localhost."])
def test_the_app_sees_requests_under_its_own_name_however_it_is_written(site: Site, host: str) -> None:
    assert site.ask("GET", "/w/form", Host=host) == 200


def test_foreign_names_write_little_into_the_log(site: Site) -> None:
    before = site.log.stat().st_size
    with closing(site.connect("127.0.4.1")) as connection:
        for _ in range(300):
            connection.request("GET", "/" + "a" * 7000, headers={"Host": "b" * 64})
            assert connection.getresponse().read() is not None
    assert site.log.stat().st_size - before < 30 * 200


def test_the_log_has_no_query_no_link_of_a_customer_and_no_look_of_a_monitor(site: Site) -> None:
    assert site.ask("GET", "/desk/callbacks?q=4930901820") == 200
    assert site.ask("GET", "/c/signed-link-of-a-customer") == 200
    assert site.ask("GET", "/readyz") == 200
    assert site.ask("POST", "/c/signed-link-of-a-customer/cancel") == 200
    said = site.log.read_text() + site.log.with_suffix(".error.log").read_text()
    assert "GET /desk/callbacks 200" in said
    assert "GET /c/ 200" in said
    assert not [hidden for hidden in ("4930901820", "signed-link", "readyz") if hidden in said]


LONG = [("POST", "/w/" + "a" * 7000), ("POST", "/w/" + "%0A" * 2000), ("A" * 7000, "/w/")]


@pytest.mark.parametrize(("method", "path"), LONG)
def test_a_stranger_writes_little_into_the_log(site: Site, method: str, path: str) -> None:
    stranger = f"127.1.{len(method) % 200}.{len(path) % 200}"
    before, count = site.log.stat().st_size, 300
    refused = site.flood(method, path, count, stranger)[429]
    lines = site.log.read_bytes()[before:].decode().splitlines()
    assert max(map(len, lines)) < 500
    assert refused > count / 2 or method != "POST"
    assert sum(" 429 " in line for line in lines) <= refused / 5
    assert len(lines) >= count - refused - 1
