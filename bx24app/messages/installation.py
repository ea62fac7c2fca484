"""Words for what the doctor finds in an installation, for the operator of the app."""

from collections.abc import Callable, Mapping

FindingFacts = Mapping[str, str]
Sentences = tuple[str, str]

# What the operator of the app is told on the command line, in English.
INSTALLATION_SENTENCES: dict[tuple[str, str], Callable[[FindingFacts], Sentences]] = {
    ("database", "ok"): lambda f: (f"Answers; its migrations are up to date ({f['head']}).", ""),
    ("database", "database"): lambda f: (
        f"Does not answer ({f['detail']}).",
        "Check BX24APP_DATABASE_URL and whether the database server runs.",
    ),
    ("database", "migrations"): lambda f: (
        f"Is at migration {f['present']}, the app needs {f['head']}.",
        "Run: flask --app app db upgrade",
    ),
    ("database", "newer"): lambda f: (
        f"Is at migration {f['present']} of a newer version of the app; this one knows those up to {f['head']}.",
        "If you are upgrading: start web and worker anew with the newer version.",
    ),
    ("database", "clock"): lambda _f: (
        "Answers, but the clock of this process has leapt or differs from the database's, and is not believed yet.",
        "See that NTP sets the clocks; nothing is dialled, ended or deleted meanwhile.",
    ),
    ("files", "ok"): lambda f: (f"{f['folder']} and what is in it are for the app's user alone.", ""),
    ("files", "closed"): lambda f: (
        f"Other users of this machine could read {f['files']} in {f['folder']} until now; that is mended.",
        "If others have accounts on this machine, think of what they may have read: rotate the keys.",
    ),
    ("files", "listed"): lambda f: (
        f"Other users of this machine may look into {f['folder']}; the files in it are closed to them.",
        f"If the folder is for the app alone: chmod 700 {f['folder']}",
    ),
    ("files", "shared"): lambda f: (
        f"Other users of this machine may put files into {f['folder']} and so hinder the app, or deceive it.",
        "Move the database into a folder of its own with mode 700 (BX24APP_DATABASE_URL).",
    ),
    ("files", "open"): lambda f: (
        f"Other users of this machine may read {f['files']} in {f['folder']}.",
        "The files belong to another user than the app's: give them to it (chown), mode 600.",
    ),
    ("files", "lock"): lambda f: (
        f"{f['files']} in {f['folder']} is a link, no file, or somebody else's. Writers do without it, more slowly.",
        "Stop web and worker, remove it, and find out who has put it there.",
    ),
    ("files", "read_only"): lambda f: (
        f"The app's user may not write in {f['folder']}: SQLite needs files beside the database.",
        "Give the folder to the app's user (chown), mode 700.",
    ),
    ("waking", "ok"): lambda f: (f"Processes wake each other by {f['place']}.", ""),
    ("waking", "polls"): lambda f: (
        f"Nothing comes through {f['place']} ({f['detail']}): workers begin up to a second late.",
        "With PgBouncer in transaction mode that is so: LISTEN needs session mode, or PostgreSQL's own address.",
    ),
    ("waking", "folder"): lambda f: (
        f"Nothing comes through the folder {f['place']} ({f['detail']}): workers begin up to a second late.",
        "It must belong to the app's user, with mode 700, on a file system that has named pipes. It may be removed.",
    ),
    ("networks", "every"): lambda f: (
        f"Every portal that installs the app may name an address in {f['networks']}, and have the app talk to it.",
        "Name the portal in BX24APP_PRIVATE_PORTALS: member_id=network. The log names the member_id of each portal.",
    ),
    ("keys", "ok"): lambda f: (f"Everything sealed opens under the first key ({f['count']}).", ""),
    ("keys", "old"): lambda f: (
        f"{f['count']} values are still sealed under an older key.",
        "Run: flask --app app rotate-keys. Then the older keys can be taken out of BX24APP_ENCRYPTION_KEYS.",
    ),
    ("keys", "lost"): lambda f: (
        f"{f['count']} values cannot be opened: key {f['ids']} is not configured.",
        "Put the missing key back at the end of BX24APP_ENCRYPTION_KEYS; else those portals must be reinstalled.",
    ),
    ("portals", "ok"): lambda _f: ("None is disconnected.", ""),
    ("portals", "disconnected"): lambda f: (
        f"{f['count']} are disconnected, for nobody's access is valid any more: {f['names']}.",
        "An administrator of each opens the app once.",
    ),
    ("spelling", "respelled"): lambda f: (f"{f['variable']} is {f['written']}, read as {f['read']}.", ""),
    ("address", "ok"): lambda f: (f"{f['url']} answers.", ""),
    ("address", "certificate"): lambda f: (
        f"The certificate of {f['url']} is not accepted.",
        "Install a valid certificate with its whole chain: Bitrix24 sends no events to any other.",
    ),
    ("address", "unreachable"): lambda f: (
        f"{f['url']} cannot be reached from here ({f['detail']}).",
        "Check BX24APP_PUBLIC_URL, the reverse proxy and the firewall.",
    ),
    ("address", "other"): lambda f: (
        f"{f['url']} is answered by something else (status {f['status']}).",
        "Check BX24APP_PUBLIC_URL and where the reverse proxy sends /healthz.",
    ),
    ("authorization", "ok"): lambda f: (f"{f['address']} answers and knows the app.", ""),
    ("authorization", "keys"): lambda f: (
        f"It does not accept the app's keys (client {f['client_id']}).",
        "Compare BX24APP_CLIENT_ID and BX24APP_CLIENT_SECRET with the developer's area.",
    ),
    ("authorization", "unreachable"): lambda f: (
        f"{f['address']} does not answer ({f['detail']}): tokens cannot be renewed.",
        "Check BX24APP_AUTH_SERVER and whether this machine may open https connections.",
    ),
}
