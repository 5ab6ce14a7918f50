"""Web configuration files, right and wrong, each with what is to become of it.

Beside each one lie cert.pem and key.pem, which fit each other, other.pem, which does not, and
junk.pem, which is none.
"""

_HASH = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"
"""Of ``fakepassword``."""


def _tls(more: str = "", cert: str = "cert.pem", key: str = "key.pem") -> str:
    return f"tls_server_config: {{cert_file: {cert}, key_file: {key}, {more}}}"


def _http(more: str) -> str:
    return f"http_server_config: {{{more}}}"


def _headers(more: str) -> str:
    return _http(f"headers: {{{more}}}")


GOOD = {
    "empty": "",
    "null": "null",
    "comment": "# nothing yet\n",
    "empty section": "tls_server_config:",
    "empty TLS": "tls_server_config: {}",
    "TLS": _tls(),
    "bounds alone ask for no TLS": "tls_server_config: {min_version: TLS13}",
    "a preference alone asks for no TLS": "tls_server_config: {prefer_server_cipher_suites: no}",
    "all versions": _tls("min_version: TLS10, max_version: TLS13"),
    "nothing between the versions": _tls("min_version: TLS13, max_version: TLS12"),
    "version null": _tls("min_version: "),
    "suites": _tls("cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]"),
    "suites of 1.3": _tls("cipher_suites: [TLS_AES_128_GCM_SHA256]"),
    "suites of RSA": _tls("cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]"),
    "no suites": _tls("cipher_suites: []"),
    "suite null": _tls("cipher_suites: [null]"),
    "curves": _tls("curve_preferences: [CurveP256, X25519]"),
    "one curve": _tls("curve_preferences: [CurveP384]"),
    "order of the client": _tls("prefer_server_cipher_suites: false"),
    "no client certificate": _tls("client_auth_type: NoClientCert"),
    "requested": _tls("client_auth_type: RequestClientCert"),
    "verified if given": _tls(
        "client_auth_type: VerifyClientCertIfGiven, client_ca_file: cert.pem"
    ),
    "verified": _tls("client_auth_type: RequireAndVerifyClientCert, client_ca_file: cert.pem"),
    "verified by the system's": _tls("client_auth_type: RequireAndVerifyClientCert"),
    "any, with authorities": _tls(
        "client_auth_type: RequireAnyClientCert, client_ca_file: cert.pem"
    ),
    "any, by its old name": _tls("client_auth_type: RequireClientCert, client_ca_file: cert.pem"),
    "authorities that are none": _tls(
        "client_auth_type: RequireAndVerifyClientCert, client_ca_file: junk.pem"
    ),
    "http2": _http("http2: false"),
    "http2 yes": _http("http2: yes"),
    "merged": _http("<<: {http2: true}"),
    "headers": _headers(
        "X-Frame-Options: deny, X-Content-Type-Options: nosniff, X-XSS-Protection: 0, "
        "Strict-Transport-Security: max-age=3600, Content-Security-Policy: default-src"
    ),
    "header null": _headers("X-XSS-Protection: "),
    "no headers": _http("headers: {}"),
    "users": f"basic_auth_users: {{kim: {_HASH}, robin: {_HASH}}}",
    "a number as name": f"basic_auth_users: {{1: {_HASH}}}",
    "more than a hash": f"basic_auth_users: {{kim: {_HASH}xx}}",
    "no users": "basic_auth_users: {}",
    "all": f"{_tls()}\n{_http('http2: true')}\nbasic_auth_users: {{kim: {_HASH}}}",
}
"""What promtool 2.42 takes."""

BAD = {
    "a list": "- a",
    "text": "a",
    "a tab": "\thttp_server_config: {}",
    "unfinished": "http_server_config: {",
    "unknown": "tls_config: {}",
    "unknown by its case": "TLS_server_config: {}",
    "unknown in TLS": _tls("certfile: a"),
    "unknown in HTTP": _http("http3: true"),
    "an anchor of its own": "x: &a {http2: true}\nhttp_server_config: *a",
    "twice": "http_server_config: {}\nhttp_server_config: {}",
    "twice in TLS": _tls("min_version: TLS12, min_version: TLS13"),
    "a user twice": f"basic_auth_users: {{kim: {_HASH}, kim: {_HASH}}}",
    "TLS as text": "tls_server_config: yes please",
    "TLS as a list": "tls_server_config: [cert.pem]",
    "no certificate": "tls_server_config: {key_file: key.pem}",
    "no key": "tls_server_config: {cert_file: cert.pem}",
    "a policy alone": "tls_server_config: {client_auth_type: NoClientCert}",
    "a certificate that is not there": _tls(cert="gone.pem"),
    "a key that is not there": _tls(key="gone.pem"),
    "a folder": _tls(cert="."),
    "swapped": _tls(cert="key.pem", key="cert.pem"),
    "of another pair": _tls(key="other.pem"),
    "junk": _tls(cert="junk.pem"),
    "authorities without a policy": _tls("client_ca_file: cert.pem"),
    "authorities and no client": _tls("client_ca_file: cert.pem, client_auth_type: NoClientCert"),
    "authorities that are not there": _tls(
        "client_ca_file: gone.pem, client_auth_type: RequireAndVerifyClientCert"
    ),
    "an unknown policy": _tls("client_auth_type: requireanyclientcert"),
    "an unknown version": _tls("min_version: TLS1.2"),
    "a version as a number": _tls("max_version: 12"),
    "versions": _tls("min_version: [TLS12]"),
    "an unknown suite": _tls("cipher_suites: [ECDHE-RSA-AES128-GCM-SHA256]"),
    "an insecure suite": _tls("cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]"),
    "a suite that is no list": _tls("cipher_suites: TLS_AES_128_GCM_SHA256"),
    "an unknown curve": _tls("curve_preferences: [P256]"),
    "a quoted boolean": _http('http2: "true"'),
    "a number as boolean": _http("http2: 1"),
    "an unknown header": _headers("X-Powered-By: joulestat"),
    "a header in small letters": _headers("x-frame-options: deny"),
    "a wrong value of a header": _headers("X-Frame-Options: DENY"),
    "another wrong value": _headers("X-Content-Type-Options: sniff"),
    "headers as a list": _http("headers: [X-Frame-Options]"),
    "a password": "basic_auth_users: {kim: open sesame}",
    "no hash": "basic_auth_users: {kim: }",
    "a cheap hash": f"basic_auth_users: {{kim: {_HASH.replace('$10$', '$03$')}}}",
    "a hash too short": f"basic_auth_users: {{kim: {_HASH[:-3]}}}",
    "users as a list": "basic_auth_users: [kim]",
}
"""What it refuses."""

_INLINE = """\
tls_server_config:
  cert: |
{cert}
  key: |
{key}
  client_ca: |
{cert}
  client_auth_type: RequireAndVerifyClientCert
"""

NEWER = {
    "PEM in the file": (_INLINE, True),
    "PEM that does not fit": ("tls_server_config: {cert: junk, key: junk}", False),
    "names": (
        _tls(
            "client_auth_type: RequireAndVerifyClientCert, client_ca_file: cert.pem, "
            "client_allowed_sans: [scraper.example, 10.0.0.1]"
        ),
        True,
    ),
    "names of nobody": (_tls("client_allowed_sans: [scraper.example]"), False),
    "names of who likes": (
        _tls(
            "client_auth_type: VerifyClientCertIfGiven, client_ca_file: cert.pem, "
            "client_allowed_sans: [scraper.example]"
        ),
        False,
    ),
    "names without TLS": ("tls_server_config: {client_allowed_sans: [a]}", False),
    "names as text": (_tls("client_allowed_sans: a"), False),
    "rate": ("rate_limit: {interval: 100ms, burst: 20}", True),
    "rate in parts": ("rate_limit: {interval: 1m1.5s, burst: 1}", True),
    "rate in nanoseconds": ("rate_limit: {interval: 1000000, burst: 1}", True),
    "no rate": ("rate_limit: {interval: 0s}", True),
    "rate without burst": ("rate_limit: {interval: 1s}", True),
    "rate in words": ("rate_limit: {interval: often}", False),
    "rate in days": ("rate_limit: {interval: 1d}", False),
    "rate of others": ("rate_limit: {requests: 1}", False),
    "burst in words": ("rate_limit: {interval: 1s, burst: many}", False),
}
"""What came after 2.42, and whether it is taken."""

STRICTER = {
    "two documents": "http_server_config: {}\n---\nbasic_auth_users: {}",
    "a header of two lines": _headers('X-XSS-Protection: "0\\nX-Evil: 1"'),
    "a hash of no kind of bcrypt": f"basic_auth_users: {{kim: {_HASH.replace('$2y', '$1y')}}}",
    "any certificate, verified by nobody": _tls("client_auth_type: RequireAnyClientCert"),
}
"""What promtool takes and we refuse: each would not do what it seems to say."""
