#pragma once

/* Addresses in the configuration: what is wrong with them, as far as their
 * text tells. Each function returns that in words, or NULL. */

#include <stdbool.h>

/* http:// or https://; paths are put behind it. */
const char *tg_check_rest_url(const char *text);

/* ws:// or wss://. What passes here, proto/gateway_url.h can read. */
const char *tg_check_gateway_url(const char *text);

/* http://, https://, or http+unix:///path/of/socket, with :/path of the request */
const char *tg_check_handler_url(const char *text);

/* redis:// or rediss://[user:password@]host[:port][/database],
 * redis+unix://[user:password@]/path/of/socket[?db=database] */
const char *tg_check_redis_url(const char *text);
bool tg_url_is_redis(const char *url);

/* What tg_check_handler_url() or tg_check_redis_url() takes. */
const char *tg_check_sink_url(const char *text);

/* An address and a port, unix:/path, or off. */
const char *tg_check_listen(const char *text);

/* Whether what control.listen says stays on this machine. */
bool tg_listen_is_loopback(const char *listen);

/* Whether the host, an address without brackets or a name, is this machine for
 * whoever asks: 127.0.0.0/8, ::1, localhost and the names below it. */
bool tg_host_is_loopback(const char *host);

/* Whether what the URL leads to is on this machine, as far as its text tells. */
bool tg_url_is_loopback(const char *url);

/* Whether the URL leads to Discord's own machines. */
bool tg_url_is_discord(const char *url);
