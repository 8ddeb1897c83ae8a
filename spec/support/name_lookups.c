/* Counts what the processes under test ask the resolver of the system. Preloaded (LD_PRELOAD) by
 * spec/support/name_lookups.lua: the file that TG_NAME_LOOKUPS names holds one number of 8 bytes, the calls of
 * getaddrinfo() with a name in all of these processes. Addresses are no names. */

#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

typedef int lookup(const char *, const char *, const struct addrinfo *, struct addrinfo **);

static _Atomic int64_t nobodys;
static _Atomic int64_t *count = &nobodys;

static void __attribute__((constructor)) open_file(void)
{
  const char *path = getenv("TG_NAME_LOOKUPS");
  int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
  if (fd < 0)
    return;
  void *page = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (page != MAP_FAILED)
    count = page;
  close(fd);
}

static int is_name(const char *node)
{
  unsigned char address[sizeof(struct in6_addr)];
  return node && inet_pton(AF_INET, node, address) != 1 && inet_pton(AF_INET6, node, address) != 1;
}

EXPORTED int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                         struct addrinfo **found)
{
  static _Atomic(lookup *) real;
  lookup *call = atomic_load(&real);
  if (!call) {
    *(void **)&call = dlsym(RTLD_NEXT, "getaddrinfo");
    atomic_store(&real, call);
  }
  if (is_name(node))
    atomic_fetch_add(count, 1);
  return call(node, service, hints, found);
}
