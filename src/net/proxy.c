#include "net/proxy.h"

#include "base/address.h"
#include "base/buf.h"

#include <arpa/inet.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { FOR_HTTP, FOR_HTTPS, FOR_ALL, KINDS };

struct tg_proxies {
  struct tg_proxy *list[KINDS]; /* NULL: none */
  char *exceptions;
  const char *exceptions_variable;
};

/* ---- reading ---- */

static const char *first_set(const char *(*env)(const char *name), const char *lower, const char *upper,
                             const char **variable)
{
  const char *names[] = {lower, upper};
  for (int i = 0; i < 2; i++) {
    const char *value = names[i] ? env(names[i]) : NULL;
    if (value && *value) {
      *variable = names[i];
      return value;
    }
  }
  return NULL;
}

static int hex(char digit)
{
  const char *digits = "0123456789abcdef", *at = digit ? strchr(digits, digit | 0x20) : NULL;
  return at ? (int)(at - digits) : -1;
}

static char *decode(const char *text, size_t length)
{
  struct tg_buf out = {0};
  for (size_t i = 0; i < length; i++) {
    char byte = text[i];
    if (byte == '%' && i + 2 < length && hex(text[i + 1]) >= 0 && hex(text[i + 2]) >= 0) {
      byte = (char)(hex(text[i + 1]) << 4 | hex(text[i + 2]));
      i += 2;
    }
    tg_buf_append(&out, &byte, 1);
  }
  return tg_buf_take(&out);
}

static void set_login(struct tg_proxy *proxy, const char *text, size_t length)
{
  proxy->login = decode(text, length);
  struct tg_buf login = {0}, value = {0};
  tg_buf_printf(&login, "%s%s", proxy->login, strchr(proxy->login, ':') ? "" : ":");
  unsigned char *encoded = tg_alloc(login.length / 3 * 4 + 8);
  EVP_EncodeBlock(encoded, (const unsigned char *)login.data, (int)login.length);
  tg_buf_printf(&value, "Basic %s", encoded);
  proxy->authorization = tg_buf_take(&value);
  free(encoded);
  tg_buf_free(&login);
}

static const struct scheme {
  const char *name;
  enum tg_proxy_kind kind;
  const char *port;
} schemes[] = {
    {"http", TG_PROXY_HTTP, "1080"}, /* curl's ports */
    {"https", TG_PROXY_HTTPS, "443"},    {"socks4", TG_PROXY_SOCKS, "1080"},
    {"socks4a", TG_PROXY_SOCKS, "1080"}, {"socks5", TG_PROXY_SOCKS, "1080"},
    {"socks5h", TG_PROXY_SOCKS, "1080"}, {"socks", TG_PROXY_SOCKS, "1080"},
};

static const struct scheme *find_scheme(const char *text, size_t length)
{
  for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
    if (strlen(schemes[i].name) == length && strncasecmp(schemes[i].name, text, length) == 0)
      return &schemes[i];
  return NULL;
}

/* host, host:port, [address], [address]:port */
static bool set_place(struct tg_proxy *proxy, const char *at, size_t length, const char *usual_port)
{
  bool bracket = length > 0 && at[0] == '[';
  const char *end = at + length, *host = at + bracket;
  const char *host_end = memchr(host, bracket ? ']' : ':', (size_t)(end - host));
  if (bracket && !host_end)
    return false;
  if (!host_end)
    host_end = end;
  const char *rest = host_end + bracket;
  size_t digits = rest < end ? (size_t)(end - rest - 1) : 0;
  if (host_end == host || (rest < end && (*rest != ':' || digits > 5)))
    return false;
  snprintf(proxy->port, sizeof proxy->port, "%.*s", (int)digits, digits ? rest + 1 : "");
  if (proxy->port[strspn(proxy->port, "0123456789")] || (digits > 0 && atoi(proxy->port) > 65535))
    return false;
  if (digits == 0)
    snprintf(proxy->port, sizeof proxy->port, "%s", usual_port);
  proxy->host = tg_strndup(host, (size_t)(host_end - host));
  proxy->near = tg_host_is_loopback(proxy->host);
  return proxy->host[strcspn(proxy->host, " \t\r\n@")] == '\0';
}

static void free_proxy(struct tg_proxy *proxy)
{
  if (!proxy)
    return;
  free(proxy->url);
  free(proxy->where);
  free(proxy->host);
  free(proxy->login);
  free(proxy->authorization);
  free(proxy);
}

static struct tg_proxy *read_proxy(const char *variable, const char *text, struct tg_error *error)
{
  struct tg_proxy *proxy = tg_calloc(1, sizeof *proxy);
  const char *colon = strstr(text, "://");
  const struct scheme *scheme = colon ? find_scheme(text, (size_t)(colon - text)) : &schemes[0];
  const char *place = colon ? colon + 3 : text;
  size_t length = strcspn(place, "/?#");
  const char *login_end = NULL;
  for (size_t i = 0; i < length; i++)
    login_end = place[i] == '@' ? place + i : login_end;
  if (login_end)
    set_login(proxy, place, (size_t)(login_end - place));
  const char *at = login_end ? login_end + 1 : place;
  if (!scheme || !set_place(proxy, at, length - (size_t)(at - place), scheme->port)) {
    free_proxy(proxy);
    return tg_fail(
               error, "proxy",
               "the environment variable %s does not name a proxy: expected http://[user:password@]host:port "
               "(https:// and socks5:// do for REST and event handlers alone)",
               variable),
           NULL;
  }
  struct tg_buf where = {0};
  bool bracket = strchr(proxy->host, ':') != NULL;
  tg_buf_printf(&where, "%s://%s%s%s:%s", scheme->name, bracket ? "[" : "", proxy->host, bracket ? "]" : "",
                proxy->port);
  proxy->where = tg_buf_take(&where);
  proxy->kind = scheme->kind;
  proxy->variable = variable;
  proxy->url = tg_strdup(text);
  return proxy;
}

struct tg_proxies *tg_proxies_read(const char *(*env)(const char *name), struct tg_error *error)
{
  static const char *const names[KINDS][2] = {
      [FOR_HTTP] = {"http_proxy", NULL},
      [FOR_HTTPS] = {"https_proxy", "HTTPS_PROXY"},
      [FOR_ALL] = {"all_proxy", "ALL_PROXY"},
  };
  struct tg_proxies *proxies = tg_calloc(1, sizeof *proxies);
  const char *variable;
  for (int i = 0; i < KINDS; i++) {
    const char *value = first_set(env, names[i][0], names[i][1], &variable);
    if (!value)
      continue;
    proxies->list[i] = read_proxy(variable, value, error);
    if (!proxies->list[i]) {
      tg_proxies_free(proxies);
      return NULL;
    }
  }
  const char *exceptions = first_set(env, "no_proxy", "NO_PROXY", &variable);
  if (exceptions) {
    proxies->exceptions = tg_strdup(exceptions);
    proxies->exceptions_variable = variable;
  }
  return proxies;
}

void tg_proxies_free(struct tg_proxies *proxies)
{
  if (!proxies)
    return;
  for (int i = 0; i < KINDS; i++)
    free_proxy(proxies->list[i]);
  free(proxies->exceptions);
  free(proxies);
}

/* ---- what goes without ---- */

/* `net` is an address, or one with the number of bits that count behind a slash. */
static bool is_in_net(int family, const unsigned char *address, const char *net)
{
  char text[64];
  unsigned char start[16];
  int size = family == AF_INET ? 4 : 16;
  const char *slash = strchr(net, '/');
  size_t length = slash ? (size_t)(slash - net) : strlen(net);
  if (length >= sizeof text)
    return false;
  memcpy(text, net, length);
  text[length] = '\0';
  int bits = slash ? atoi(slash + 1) : 0;
  if (bits == 0)
    bits = size * 8;
  if (bits < 0 || bits > size * 8 || inet_pton(family, text, start) != 1)
    return false;
  int bytes = bits / 8, rest = bits % 8;
  return memcmp(address, start, (size_t)bytes) == 0 &&
         (rest == 0 || ((address[bytes] ^ start[bytes]) & (0xff << (8 - rest)) & 0xff) == 0);
}

/* "example.com" and ".example.com" are that name, and all that end in it. */
static bool is_in_domain(const char *host, const char *domain)
{
  size_t host_length = strlen(host), length;
  domain += *domain == '.';
  length = strlen(domain);
  if (length > 0 && domain[length - 1] == '.')
    length--;
  if (host_length > 0 && host[host_length - 1] == '.')
    host_length--;
  if (length == 0 || length > host_length || strncasecmp(host + host_length - length, domain, length) != 0)
    return false;
  return length == host_length || host[host_length - length - 1] == '.';
}

static bool is_exception(const char *exceptions, const char *host)
{
  unsigned char address[16];
  int family = inet_pton(AF_INET, host, address) == 1    ? AF_INET
               : inet_pton(AF_INET6, host, address) == 1 ? AF_INET6
                                                         : AF_UNSPEC;
  char *copy = tg_strdup(exceptions), *rest = NULL;
  bool found = strcmp(copy, "*") == 0;
  for (char *word = strtok_r(copy, ", \t", &rest); word && !found; word = strtok_r(NULL, ", \t", &rest))
    found = family == AF_UNSPEC ? is_in_domain(host, word) : is_in_net(family, address, word);
  free(copy);
  return found;
}

const struct tg_proxy *tg_proxy_for(const struct tg_proxies *proxies, bool tls, const char *host)
{
  if (!proxies)
    return NULL;
  const struct tg_proxy *proxy = proxies->list[tls ? FOR_HTTPS : FOR_HTTP];
  if (!proxy)
    proxy = proxies->list[FOR_ALL];
  if (!proxy)
    return NULL;
  char *bare = host[0] == '[' ? tg_strndup(host + 1, strcspn(host + 1, "]")) : tg_strdup(host);
  bool direct = (tg_host_is_loopback(bare) && !proxy->near) ||
                (proxies->exceptions && is_exception(proxies->exceptions, bare));
  free(bare);
  return direct ? NULL : proxy;
}

/* The host that the URL names, without brackets; the caller frees it. NULL: it is
 * of another kind. */
static char *host_of(const char *url, bool *tls)
{
  static const struct {
    const char *start;
    bool tls;
  } kinds[] = {{"http://", false}, {"https://", true}, {"ws://", false}, {"wss://", true}};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    size_t start = strlen(kinds[i].start);
    if (strncasecmp(url, kinds[i].start, start) != 0)
      continue;
    const char *host = url + start, *at = host;
    size_t length = strcspn(host, "/?#");
    for (size_t k = 0; k < length; k++)
      at = host[k] == '@' ? host + k + 1 : at;
    *tls = kinds[i].tls;
    return at[0] == '[' ? tg_strndup(at + 1, strcspn(at + 1, "]")) : tg_strndup(at, strcspn(at, ":/?#"));
  }
  return NULL;
}

const struct tg_proxy *tg_proxy_for_url(const struct tg_proxies *proxies, const char *url)
{
  bool tls = false;
  char *host = host_of(url, &tls);
  const struct tg_proxy *proxy = host ? tg_proxy_for(proxies, tls, host) : NULL;
  free(host);
  return proxy;
}

/* ---- for people ---- */

const struct tg_proxy *tg_proxy_at(const struct tg_proxies *proxies, int index)
{
  for (int i = 0; proxies && i < KINDS; i++)
    if (proxies->list[i] && index-- == 0)
      return proxies->list[i];
  return NULL;
}

const char *tg_proxies_exceptions(const struct tg_proxies *proxies, const char **variable)
{
  *variable = proxies ? proxies->exceptions_variable : NULL;
  return proxies ? proxies->exceptions : NULL;
}

void tg_proxy_explain_refusal(const struct tg_proxy *proxy, int status, const char *to,
                              struct tg_error *error)
{
  if (status == 407)
    tg_fail(error, "proxy",
            "the proxy %s (%s) %s (407): the variable has to be http://user:password@host:port", proxy->where,
            proxy->variable,
            proxy->login ? "does not accept the user and password in its URL" : "wants a login");
  else if (status == 403 || status == 405)
    tg_fail(error, "proxy", "the proxy %s (%s) does not allow connections to %s (%d)", proxy->where,
            proxy->variable, to, status);
  else
    tg_fail(error, "proxy", "the proxy %s (%s) cannot connect to %s: it answers %d", proxy->where,
            proxy->variable, to, status);
}

bool tg_proxy_tunnels(const struct tg_proxy *proxy, const char *host, struct tg_error *error)
{
  if (!proxy || proxy->kind == TG_PROXY_HTTP)
    return true;
  return tg_fail(error, "proxy",
                 "the gateway's connections cannot go over the proxy %s (%s), only over one that begins with "
                 "http://. Set such a one, or put %s into no_proxy to reach it directly",
                 proxy->where, proxy->variable, host);
}

bool tg_proxies_tunnel(const struct tg_proxies *proxies, const char *url, struct tg_error *error)
{
  bool tls = false;
  char *host = host_of(url, &tls);
  bool good = !host || tg_proxy_tunnels(tg_proxy_for(proxies, tls, host), host, error);
  free(host);
  return good;
}
