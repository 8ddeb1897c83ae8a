#pragma once

/* Messages between manager and workers: one JSON object a line over a
 * socketpair, {"type":"IDENTIFY_SHARD","shardId":3}. Rare by design: nothing
 * here is done per event.
 *
 * Manager to worker (names as in discordeno's guide where it has them):
 *   SECRETS          {environment}: what the manager has taken out of the environment
 *                    (config/environment.h); before all else, see tg_ipc_receive()
 *   START            {workerId, totalShards, gatewayUrl, maxConcurrency, generation, stamp,
 *                    steadyAhead: tg_steady_ahead() of all processes,
 *                    firstShard, owners: the worker of each shard from that one on}, once
 *   IDENTIFY_SHARD   {shardId}: start this shard (RESUME if it has a session)
 *   ALLOW_IDENTIFY   {shardId, deadline}: op 2 may leave until then (tg_now())
 *   SHARD_PAYLOAD    {shardId, data, timeout, priority, forwardUntil?, nonce}: answered by
 *                    NONCE_REPLY when sent. With forwardUntil (tg_now()) `data`
 *                    is an op 8 whose d.nonce the worker remembers until then:
 *                    see MEMBERS_CHUNK
 *   SET_PRESENCE     {shardId, presence: d of op 3 | null, fresh, nonce}: from now
 *                    on; fresh: has not gone out yet. Answered when it has
 *   GET_SHARD_INFO   {nonce}
 *   KILL_SHARD       {shardId, nonce}: ends its session; answered when it is gone
 *   PREPARE_RELOAD   {generation, nonce}: answered by {problem?: text, files}
 *   COMMIT_RELOAD, ABORT_RELOAD  {generation, nonce}
 *   STOP             {keepSessions, deadline}; a second one has a shorter deadline
 *   BROADCAST        {topic, value, from}: for the scripts' gateway.on_broadcast;
 *                    from: the worker that sent it, -1: the manager
 *   HANDLER          {url, up, asked}: what another worker has found out of an event
 *                    handler: up again, or (still) down; asked: ms for which it
 *                    wants to be left alone
 * Worker to manager:
 *   HELLO            {workerId, generation, files}: script loaded, ready for
 *                    shards; files: what it has read from disk for that
 *   REQUEST_IDENTIFY {shardId}: connected, has HELLO, wants its slot
 *   IDENTIFY_SENT    {shardId}: op 2 has left
 *   IDENTIFY_UNUSED  {shardId}: the grant came too late or the socket is gone
 *   IDENTIFY_DONE    {shardId, result: "ready"|"invalid"|"closed", code}
 *   SESSION_LOST     {shardId, reason}: must identify; waits for IDENTIFY_SHARD
 *   SHARD_FATAL      {shardId, code}
 *   MEMBERS_CHUNK    {shardId, data}: d of a GUILD_MEMBERS_CHUNK whose d.nonce is
 *                    remembered
 *   MEMBERS_LIMITED  {shardId, data}: d of a RATE_LIMITED with such a d.meta.nonce,
 *                    or with none, while any is remembered
 *   MANAGER_CALL     {method, args, default?, nonce}: gateway.manager:<method>
 *                    called in a worker; default true: the C default of it
 *   BROADCAST        {topic, value}: the manager sends it on to all workers, this
 *                    one too
 *   HANDLER          {url, up, asked}: what it has found out of an event handler
 *   STILL_ALIVE      {}: the loop turns (watchdog); at least once a second
 *   STOPPED          {}
 * Both: NONCE_REPLY  {nonce, data | error: {code, message}} */

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <uv.h>

struct tg_ipc;

struct tg_ipc_callbacks {
  /* `message` is borrowed; `type` is its "type". */
  void (*on_message)(void *ctx, const char *type, const json_t *message);
  /* The other side is gone. Free the ipc from here or later. */
  void (*on_closed)(void *ctx);
};

/* Takes over the socket `fd`, makes it close-on-exec. NULL: it is no socket
 * (logged). SIGPIPE has to be ignored in this process. */
struct tg_ipc *tg_ipc_new(uv_loop_t *loop, int fd, const struct tg_ipc_callbacks *callbacks, void *ctx);

/* Before tg_ipc_new(): waits for the next message, {"type":"SECRETS",...}, and
 * takes no byte of what follows it. NULL: the other side is gone, or `fd` is no
 * such line. The caller decrefs it. */
json_t *tg_ipc_receive(int fd);

/* Pending requests end with the error "closed". What is not flushed yet is
 * thrown away. The memory goes when the loop has closed the handles. */
void tg_ipc_free(struct tg_ipc *ipc);

/* Sends {"type": type, ...fields}; steals `fields` (an object, or NULL). After
 * the other side has gone it does nothing. */
void tg_ipc_send(struct tg_ipc *ipc, const char *type, json_t *fields);

/* `data` is borrowed; NULL when `error` is set. Called exactly once, perhaps
 * before tg_ipc_request() returns. */
typedef void tg_ipc_reply(void *ctx, const json_t *data, const struct tg_error *error);

/* Sends with a nonce and waits for its NONCE_REPLY, at most `timeout` ms
 * (error "timeout"). Steals `fields`. */
void tg_ipc_request(struct tg_ipc *ipc, const char *type, json_t *fields, int64_t timeout,
                    tg_ipc_reply *reply, void *ctx);

/* Answers `message` if it carries a nonce. Steals `data`; `error` may be NULL. */
void tg_ipc_answer(struct tg_ipc *ipc, const json_t *message, json_t *data, const struct tg_error *error);

/* Whether all that was sent has been handed to the kernel. */
bool tg_ipc_flushed(const struct tg_ipc *ipc);
