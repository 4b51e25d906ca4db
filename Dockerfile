# syntax=docker/dockerfile:1
# The engine, small and without rights. `docker build -t entasis .`

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
COPY . .
# What was compiled once stays in the caches: after a change, only our own crates are built again.
# The cache is no part of a layer, so the binary is taken out of it.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --package engine --bin entasis \
    && strip --strip-debug target/release/entasis -o /entasis
# A new volume takes over whose this folder is.
RUN mkdir --mode=0700 /data

FROM debian:bookworm-slim
# For venues over TLS the certificates are in the binary; nothing is installed here.
COPY --from=build --chown=10001:10001 /data /var/lib/entasis
COPY --from=build --chown=0:0 --chmod=0555 /entasis /usr/local/bin/entasis
USER 10001:10001
WORKDIR /var/lib/entasis
ENV ENTASIS_DATA=/var/lib/entasis
VOLUME /var/lib/entasis
EXPOSE 8080 9464
# Asks itself over loopback whether it lives, with what the shell has built in. Where
# `addresses.allow` is set it must name 127.0.0.1.
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /livez HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && read -r -t 2 line <&3 && [[ $line == *' 200 '* ]]"]
# Requests in flight are answered, and sockets are told, before it ends.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/entasis"]
CMD ["serve"]
