"""Templates of :mod:`server.deployment`; what is in braces is filled in there."""

_CONFINED = """\
KillMode=mixed
TimeoutStopSec=15
UMask=0077
NoNewPrivileges=yes
ProtectSystem=full
ProtectControlGroups=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictSUIDSGID=yes

[Install]
WantedBy=multi-user.target
"""

SERVER_UNIT = (
    """\
# Written by `echofm server provision`, anew each time: copy it, do not edit it here.
#   cp echofm-server.service /etc/systemd/system/
#   systemctl daemon-reload && systemctl enable --now echofm-server
[Unit]
Description=EchoFM coordinator of {host}
Wants=network-online.target
# The check from outside goes by way of nginx.
After=network-online.target nginx.service
StartLimitIntervalSec=0

[Service]
# The owner of the coordinator's folder; run folders have to be writable for the same user.
User={user}
ExecStart={command} server start {folder}
Restart=always
RestartSec=5
"""
    + _CONFINED
)

CLIENT_UNIT = (
    """\
# A hospital's node for the federation of {host}.
# The instance is the site's folder, as systemd escapes a path; for /srv/echofm/north:
#   cp echofm-client@.service /etc/systemd/system/
#   systemctl daemon-reload
#   systemctl enable --now echofm-client@$(systemd-escape --path /srv/echofm/north)
[Unit]
Description=EchoFM node of the site in %f, for the federation of {host}
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
# Two lines to fit: the owner of the site's folder, and where `echofm` is installed.
User=echofm
Environment=PATH=/opt/echofm/bin:/usr/local/bin:/usr/bin:/bin
ExecStart=/usr/bin/env echofm client start %f
Restart=always
# The server turns a node away that comes back sooner.
RestartSec=65
"""
    + _CONFINED
)

NGINX = """\
# Written by `echofm server provision`, anew each time: copy it, do not edit it here.
# It passes /v1/fleet/ on, which sites need, and nothing else: whoever reaches /v1/control or
# /v1/runtime can run code on this machine, and ask the sites whatever an approved plan allows. Use
# it as nginx.conf; where nginx serves other names too, take the two blocks `upstream` and `server`
# into its own configuration.
events {{}}

http {{
    upstream echofm_superlink {{
        server 127.0.0.1:{local};
        keepalive 16;
    }}

    server {{
        listen {public} ssl;
        server_name {host};
        server_tokens off;

        # Sites trust the kit's authority alone, so this is no certificate of a public one.
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;

        # With a path behind the address nginx passes on what it has matched, dots resolved.
        location /v1/fleet/ {{
            proxy_pass https://echofm_superlink/v1/fleet/;
            proxy_ssl_trusted_certificate {authority};
            proxy_ssl_verify on;
            proxy_ssl_name localhost;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_request_buffering off;
            proxy_buffering off;
            proxy_read_timeout 300s;
            client_max_body_size 0;
        }}
        location / {{
            return 404;
        }}
    }}
}}
"""

SUMMARY = """\
# Ports and flows of the federation at {host}

For the security officers of coordinator and hospitals. Written by `echofm server provision`
(echofm-federated {version}, {today}); it describes what is configured, and proves nothing.

## Connections
| from | to | TCP port | what passes |
|---|---|---|---|
| each hospital | {host} | {public} | TLS 1.2 or 1.3; HTTP below `/v1/fleet/` alone |
| nginx on the coordinator | SuperLink, 127.0.0.1 | {local} | TLS; the same requests |
| coordinator's commands | SuperLink, 127.0.0.1 | {local} | TLS; `/v1/control`, `/v1/runtime` |
| coordinator's commands | SuperLink, 127.0.0.1 | new at each start | health service, no TLS |

Hospitals open every connection; nothing connects to a hospital. No other host is contacted:
Flower's telemetry, update check and installation of packages are switched off.

## Firewall
- Coordinator: TCP {public} in, from the hospitals' addresses. Port {local} is bound to 127.0.0.1.
- Hospital: TCP {public} out, to {host}. A proxy may stand between; it must not open TLS.

## What must never be reached from outside
`/v1/control` and `/v1/runtime` ask for no credential. Whoever reaches them can run code on the
coordinator's machine, and ask the hospitals whatever an approved plan allows; no code comes to a
hospital that way. `nginx.conf` answers 404 there; `echofm server start` tries them at
{host}:{public} and warns.

## Who is who
- The server shows a certificate for {names},
  valid until {ends}, signed by this federation's own authority, valid until {authority_ends}.
  SHA-256 of the authority, to compare by telephone with
  `openssl x509 -in ca.crt -noout -fingerprint -sha256`:
  `{fingerprint}`
- A hospital signs each request with its own key (ECDSA P-384, made there, never sent). It is
  admitted by the coordinator under one name, and turned away at once by `echofm server revoke`.
  Signatures hold for minutes: clocks have to be set (NTP).

## What passes
To hospitals: plan, weights, what to train and to test. From hospitals: weights of the groups that
plan and site's policy allow, counts, losses, scores with intervals, error sentences. Never:
recordings, names, identifiers, manifests, predictions of single patients.

## Secrets on the coordinator, in {folder}
| file | what | mode |
|---|---|---|
| `ca.key` | signs certificates that hospitals trust; keep a copy apart | 600 |
| `server.key` | of the server's certificate | 600 |
| `superexec.secret` | between the coordinator's own processes | 600 |

The folder `kit`, which hospitals get, holds no secret.
"""
