"""Every promise of a service that may slow down a company's training."""

from promises.promise import Promise

LEASES = (
    Promise(
        "lease-end",
        "A limit never outlives its lease: at its expiry the limit from before comes back.",
        "within 1 s, 10,000 leases",
    ),
    Promise(
        "lease-kill",
        "After SIGKILL at any point a limit is leased, or back where it was.",
        "0 orphans in 2,000 random kills and at every failpoint, 3 s after the restart",
    ),
    Promise(
        "lease-intent",
        "What stood there before is on the disk before the hardware is written.",
        "fsync before the write in every trace",
    ),
    Promise(
        "lease-baseline",
        "What comes back is the limit found before the first lease, to the milliwatt, and never "
        "over somebody else's newer change.",
        "in every case",
    ),
    Promise(
        "lease-stop",
        "Stopping the service puts limits back, also one that was frozen and killed.",
        "SIGTERM within 5 s, `ExecStopPost` within 10 s",
    ),
    Promise(
        "lease-clock",
        "Setting the wall clock changes no lease; a boot ends them all.",
        "0 early, 0 late at steps of a year",
    ),
    Promise(
        "one-holder",
        "Two writers cannot both believe that they hold a GPU.",
        "linearizable in 500 histories of 8 clients",
    ),
    Promise(
        "late-write",
        "A delayed write from a lease that is over is refused, and no driver hears of it.",
        "412 and 0 writes in 500 paused clients",
    ),
    Promise(
        "retried-write",
        "A write that is sent again happens once, also across a restart.",
        "1 hardware write for 1,000 repetitions",
    ),
    Promise(
        "write-rate",
        "Nobody can wear out a card: its limit is written rarely, whatever is asked.",
        "1 in 10 s and GPU, 3 at once",
    ),
)

PRIVILEGE = (
    Promise(
        "split",
        "The process that faces the network holds no capability; the one that sets limits has "
        "no network, and judges lease, fencing token and policy itself.",
        "CapEff 0; CAP_SYS_ADMIN alone and no inet socket",
    ),
    Promise(
        "sandbox",
        "The systemd units confine both processes.",
        "`systemd-analyze security` 2.1 or better",
    ),
    Promise(
        "admin-off",
        "Out of the box nobody can change a limit, and nothing but TLS opens it to a network.",
        "no admin route served; refuses to start",
    ),
    Promise(
        "scopes",
        "Every route needs what the table says, and no other credential opens it.",
        "every credential x every route",
    ),
    Promise(
        "browsers",
        "No web page can drive the admin API or push.",
        "every browser's and rebinding shape x every route refused",
    ),
    Promise(
        "secrets",
        "No secret appears in a log, a metric, an error, the audit log or `ps`.",
        "0 of 20 canaries",
    ),
    Promise(
        "web-config",
        "A `--web.config.file` of the Prometheus exporter-toolkit works unchanged.",
        "the verdict of `promtool check web-config` on 40 files",
    ),
    Promise(
        "tls",
        "TLS is modern, client certificates are enforced, new ones are taken up in service.",
        "every wrong certificate refused; 0 requests failed at a change",
    ),
)

SERVER = (
    Promise(
        "push-harmless",
        "Nothing a pusher sends breaks a scrape or changes the energy of a GPU.",
        "0 of 1,000,000 pushes",
    ),
    Promise(
        "push-bounded",
        "Pushes cannot raise the number of series or the memory beyond their bounds.",
        "64 runs, 512 ranks; memory flat",
    ),
    Promise(
        "push-no-trace",
        "A refused push leaves one bounded counter and nothing else.",
        "state and page the same, byte for byte",
    ),
    Promise(
        "half-open",
        "Connections that never finish are closed, and do not hide /metrics.",
        "1,000 at 256 descriptors: closed within 10 s, p99 below 100 ms",
    ),
    Promise(
        "oversized",
        "Headers and bodies that are too large are refused before they are read.",
        "431, 413, 415; memory + 2 MiB at most",
    ),
    Promise(
        "burst",
        "A burst of scrapes is answered or refused at once, never reset.",
        "400 at once: 0 reset",
    ),
    Promise(
        "scrape-timeout",
        "A scrape ends in Prometheus' time, also while drivers hang.",
        "before `X-Prometheus-Scrape-Timeout-Seconds` - 0.5 s",
    ),
    Promise(
        "openapi",
        "The API is what its OpenAPI document says.",
        "schemathesis: no 5xx, nothing undocumented",
    ),
)

EVIDENCE = (
    Promise(
        "query-safe",
        "No label's value changes the meaning of a query.",
        "1,000,000 random values",
    ),
    Promise(
        "redirects",
        "Credentials follow no redirect.",
        "0 seen elsewhere",
    ),
    Promise(
        "evidence",
        "Bad evidence is refused with its reason: partial, warned of, NaN, stale, reset, skewed.",
        "0 limits written",
    ),
    Promise(
        "patience",
        "Time-outs and retries of the optimizer are bounded.",
        "every answer that never comes",
    ),
)

STATE = (
    Promise(
        "state",
        "State that is corrupt, cut off, newer or on a full disk is never guessed at: control is "
        "read-only, metrics go on.",
        "5,000 mutations",
    ),
    Promise(
        "audit",
        "The audit log has every write before its effect, and shows when it was tampered with.",
        "every flipped, deleted or moved line found",
    ),
    Promise(
        "watchdog",
        "The watchdog finds a frozen loop and only that; a stuck driver restarts nothing.",
        "pings end with the loop, and go on over a stuck driver",
    ),
    Promise(
        "soak",
        "Hours of everything at once leak nothing.",
        "10 minutes: memory, threads and descriptors flat",
    ),
)

CHAPTERS = (
    ("Leases", LEASES),
    ("Privilege", PRIVILEGE),
    ("Whatever is sent", SERVER),
    ("The optimizer", EVIDENCE),
    ("State and supervision", STATE),
)

SLUGS = frozenset(each.slug for _, chapter in CHAPTERS for each in chapter)
