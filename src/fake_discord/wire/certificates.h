#pragma once

/* A certificate authority of our own and a certificate for localhost,
 * 127.0.0.1, ::1 and, where a network is made up, names like gateway.discord.test,
 * so that clients can verify who they talk to. */

#include "base/error.h"

#include <stdbool.h>

/* Writes ca.pem, cert.pem and key.pem into `dir` (made if missing) unless all
 * three are there. */
bool tg_fake_certificates(const char *dir, struct tg_error *error);
