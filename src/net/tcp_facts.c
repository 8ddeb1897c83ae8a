#include "net/tcp_facts.h"

/* The C library's tcp_info does not count bytes, and does not go together with this one. */
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* Of the kernel's states (net/tcp_states.h, which programs do not get). */
enum { ESTABLISHED = 1, CLOSE_WAIT = 8 };

struct tg_tcp_facts tg_tcp_facts(int fd)
{
  struct tcp_info info = {0};
  socklen_t size = sizeof info;
  if (fd < 0 || getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
    return (struct tg_tcp_facts){.state = TG_TCP_GONE};
  return (struct tg_tcp_facts){.state = info.tcpi_state == ESTABLISHED  ? TG_TCP_STANDS
                                        : info.tcpi_state == CLOSE_WAIT ? TG_TCP_FINISHED
                                                                        : TG_TCP_GONE,
                               .received = info.tcpi_bytes_received};
}
