/* What is read of an interaction, and of REST's answers. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "delivery/interactions/interaction_facts.h"

#include <string.h>

static struct tg_span span(const char *text) { return (struct tg_span){text, strlen(text)}; }

static void reads_id_type_and_token(void **state)
{
  (void)state;
  struct tg_interaction_facts facts;
  assert_true(tg_interaction_read(
      span("{\"data\":{\"id\":\"1\",\"type\":1,\"token\":\"no\"},\"version\":1,\"type\":2,\"token\":\"aW50-._~=:+x\","
           "\"id\":\"1540000453964734491\"}"),
      &facts));
  assert_int_equal(facts.id, 1540000453964734491);
  assert_int_equal(facts.type, TG_INTERACTION_COMMAND);
  assert_int_equal(facts.token.length, strlen("aW50-._~=:+x"));
  assert_memory_equal(facts.token.at, "aW50-._~=:+x", facts.token.length);
}

static void refuses_what_cannot_be_answered(void **state)
{
  (void)state;
  static const char *const texts[] = {
      "{\"id\":\"1\",\"type\":1,\"token\":\"a\"}",  /* ping */
      "{\"id\":\"1\",\"type\":6,\"token\":\"a\"}",  /* not known yet */
      "{\"id\":\"1\",\"type\":-2,\"token\":\"a\"}",
      "{\"id\":\"1\",\"type\":4294967298,\"token\":\"a\"}",
      "{\"id\":\"0\",\"type\":2,\"token\":\"a\"}",
      "{\"id\":\"x\",\"type\":2,\"token\":\"a\"}",
      "{\"id\":\"1\",\"type\":2,\"token\":\"\"}",
      "{\"id\":\"1\",\"type\":2,\"token\":\"a/../b\"}", /* it becomes part of a path */
      "{\"id\":\"1\",\"type\":2,\"token\":\".\"}",
      "{\"id\":\"1\",\"type\":2,\"token\":\"..\"}",
      "{\"id\":\"1\",\"type\":2,\"token\":\"a%2fb\"}",
      "{\"id\":\"1\",\"type\":2,\"token\":\"a\\u0020\"}",
      "{\"id\":\"1\",\"type\":2,\"token\":null}",
      "{\"id\":\"1\",\"type\":2}",
      "{\"type\":2,\"token\":\"a\"}",
      "{\"id\":\"1\",\"token\":\"a\"}",
      "[]",
      "null",
      "",
  };
  struct tg_interaction_facts facts;
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    if (tg_interaction_read(span(texts[i]), &facts))
      fail_msg("%s", texts[i]);
  assert_false(tg_interaction_read((struct tg_span){0}, &facts));
  assert_false(tg_interaction_read((struct tg_span){"{\"id\":\"1\",\"type\":2,\"token\":\"a\0b\"}", 34}, &facts));
}

static void tells_when_an_id_was_made(void **state)
{
  (void)state;
  assert_int_equal(tg_interaction_made_at(175928847299117063), 1462015105796);
}

static void defers_by_type(void **state)
{
  (void)state;
  assert_string_equal(tg_interaction_deferral(2), "{\"type\":5}");
  assert_string_equal(tg_interaction_deferral(3), "{\"type\":6}");
  assert_string_equal(tg_interaction_deferral(4), "{\"type\":8,\"data\":{\"choices\":[]}}");
  assert_string_equal(tg_interaction_deferral(5), "{\"type\":5}");
  assert_null(tg_interaction_deferral(1));
  assert_null(tg_interaction_deferral(6));
}

static void discord_wants_no_authorization(void **state)
{
  (void)state;
  assert_false(tg_interaction_wants_authorization("https://discord.com/api/v10"));
  assert_false(tg_interaction_wants_authorization("https://canary.Discord.com:443/api/v10"));
  assert_false(tg_interaction_wants_authorization("https://discordapp.com"));
  assert_true(tg_interaction_wants_authorization("http://127.0.0.1:8080/api/v10"));
  assert_true(tg_interaction_wants_authorization("https://rest.bot.example/discord.com"));
  assert_true(tg_interaction_wants_authorization("https://notdiscord.com/api"));
  assert_true(tg_interaction_wants_authorization("https://discord.com@rest.bot.example/api"));
  assert_true(tg_interaction_wants_authorization("http+unix:///run/rest.sock:/api/v10"));
}

static enum tg_callback_verdict judge(long status, const char *body, tg_ms retry_after, tg_ms *wait)
{
  return tg_callback_judge(status, span(body), retry_after, wait);
}

static void judges_answers(void **state)
{
  (void)state;
  tg_ms wait;
  assert_int_equal(judge(204, "", -1, &wait), TG_CALLBACK_TAKEN);
  assert_int_equal(judge(200, "{}", -1, &wait), TG_CALLBACK_TAKEN);
  assert_int_equal(judge(400, "{\"message\":\"Interaction has already been acknowledged.\",\"code\":40060}", -1, &wait),
                   TG_CALLBACK_TAKEN_BEFORE);
  assert_int_equal(judge(404, "{\"message\":\"Unknown interaction\",\"code\":10062}", -1, &wait),
                   TG_CALLBACK_TOO_LATE);
  assert_int_equal(judge(404, "<html>", -1, &wait), TG_CALLBACK_REFUSED);
  assert_int_equal(judge(400, "{\"code\":50035}", -1, &wait), TG_CALLBACK_REFUSED);
  assert_int_equal(judge(401, "{\"code\":0}", -1, &wait), TG_CALLBACK_REFUSED);
  assert_int_equal(judge(301, "", -1, &wait), TG_CALLBACK_REFUSED);
  assert_int_equal(judge(0, "", -1, &wait), TG_CALLBACK_AGAIN);
  assert_int_equal(judge(500, "{\"code\":40060}", -1, &wait), TG_CALLBACK_AGAIN);
  assert_int_equal(wait, -1);
  assert_int_equal(judge(503, "", 400, &wait), TG_CALLBACK_AGAIN);
  assert_int_equal(wait, 400);
  assert_int_equal(judge(408, "", -1, &wait), TG_CALLBACK_AGAIN);
}

static void obeys_rate_limits(void **state)
{
  (void)state;
  tg_ms wait;
  /* The header is in whole seconds: the body is what counts. */
  assert_int_equal(judge(429, "{\"message\":\"slow\",\"retry_after\":0.2141,\"global\":false}", 1000, &wait),
                   TG_CALLBACK_AGAIN);
  assert_int_equal(wait, 215);
  judge(429, "{\"retry_after\":2}", 1000, &wait);
  assert_int_equal(wait, 2000);
  judge(429, "<html>", 1000, &wait);
  assert_int_equal(wait, 1000);
  judge(429, "{\"retry_after\":\"soon\"}", 1000, &wait);
  assert_int_equal(wait, 1000);
  judge(429, "{\"retry_after\":-1}", -1, &wait);
  assert_int_equal(wait, -1);
}

/* ---- through a proxy that answers each error with 500 ---- */

#define TAKEN "{\"message\":\"Interaction has already been acknowledged.\",\"code\":40060}"
#define IN_A_STRING(code) "\"{\\\"message\\\":\\\"x\\\",\\\"code\\\":" #code "}\""

static void reads_discords_error_in_a_proxys(void **state)
{
  (void)state;
  static const struct {
    const char *body;
    enum tg_callback_verdict verdict;
  } rows[] = {
      /* the template of 22: text and body in `cause` */
      {"{\"message\":{\"message\":\"[400] Bad.\\nDiscord error: [40060] Taken\",\"cause\":{\"ok\":false,"
       "\"status\":400,\"statusText\":\"Bad Request\",\"body\":" TAKEN "}}}",
       TG_CALLBACK_TAKEN_BEFORE},
      {"{\"message\":{\"message\":\"[404] No.\\nDiscord error: [10062] Unknown interaction\"}}",
       TG_CALLBACK_TOO_LATE},
      /* of 19 to 21: the body is a text */
      {"{\"message\":{\"message\":\"Failed to send request to "
       "discord.\",\"cause\":{\"ok\":false,\"status\":400,"
       "\"body\":" IN_A_STRING(40060) "}}}",
       TG_CALLBACK_TAKEN_BEFORE},
      {"{\"message\":{\"message\":\"Failed\",\"cause\":{\"status\":404,\"body\":" IN_A_STRING(10062) "}}}",
       TG_CALLBACK_TOO_LATE},
      /* the guide's: the same without a frame */
      {"{\"message\":\"Failed\",\"cause\":{\"status\":404,\"body\":" IN_A_STRING(10062) "}}",
       TG_CALLBACK_TOO_LATE},
      /* of 18, and its library's own error */
      {"{\"ok\":false,\"status\":400,\"error\":\"Bad.\",\"body\":" IN_A_STRING(
           40060) ",\"message\":\"Location:\"}",
       TG_CALLBACK_TAKEN_BEFORE},
      {"{\"message\":\"[400] Bad.\\n{\\\"message\\\":\\\"x\\\",\\\"code\\\":40060}\"}",
       TG_CALLBACK_TAKEN_BEFORE},
      {"{\"error\":\"[404] No.\\n{\\\"message\\\":\\\"x\\\",\\\"code\\\":10062}\"}", TG_CALLBACK_TOO_LATE},
      /* Discord's words with another status, and a text alone */
      {TAKEN, TG_CALLBACK_TAKEN_BEFORE},
      {"{\"message\":\"[400] Bad.\\nDiscord error: [40060] Taken\"}", TG_CALLBACK_TAKEN_BEFORE},
      {"{\"message\":\"Discord error: [10062] Unknown interaction\"}", TG_CALLBACK_TOO_LATE},
      /* final, too: what Discord refuses for another reason */
      {"{\"message\":{\"message\":\"x\",\"cause\":{\"status\":400,\"body\":{\"message\":\"Invalid Form "
       "Body\","
       "\"code\":50035}}}}",
       TG_CALLBACK_REFUSED},
      {"{\"message\":{\"message\":\"[401] The token is wrong.\"}}", TG_CALLBACK_REFUSED},
      {"{\"message\":\"[403] No.\"}", TG_CALLBACK_REFUSED},
      /* not final */
      {"{\"message\":{}}", TG_CALLBACK_AGAIN},
      {"{\"message\":{\"message\":\"x\",\"cause\":{\"status\":429}}}", TG_CALLBACK_AGAIN},
      {"{\"message\":{\"message\":\"x\",\"cause\":{\"status\":408}}}", TG_CALLBACK_AGAIN},
      {"{\"message\":{\"message\":\"[502] x\",\"cause\":{\"status\":502,\"body\":\"<html>\"}}}",
       TG_CALLBACK_AGAIN},
      {"{\"message\":{\"message\":\"[999] The network\",\"cause\":{\"status\":999}}}", TG_CALLBACK_AGAIN},
      {"{\"statusCode\":500,\"code\":\"FST_ERR\",\"error\":\"Internal Server Error\",\"message\":\"x\"}",
       TG_CALLBACK_AGAIN},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    tg_ms wait;
    if (judge(500, rows[i].body, 300, &wait) != rows[i].verdict)
      fail_msg("%s", rows[i].body);
    assert_int_equal(wait, 300);
  }
}

/* The digits are there, but nobody says that they are Discord's code. */
static void is_not_deceived_by_digits(void **state)
{
  (void)state;
  static const char *const bodies[] = {
      "{\"message\":\"40060\"}",
      "{\"message\":\"request 10062 timed out after 40060 ms\"}",
      "{\"message\":\"connect ECONNREFUSED 127.0.0.1:40060\"}",
      "{\"message\":\"[40060] in the queue\"}",
      "{\"message\":\"upstream said Discord error: [40060]\"}",
      "{\"message\":\"Discord error: [40060\"}",
      "{\"message\":\"Discord error: [400600] x\"}",
      "{\"message\":\"Discord error: [99999999999999940060] x\"}",
      "{\"message\":\"Discord error: [-40060] x\"}",
      "{\"code\":40060}",
      "{\"code\":\"40060\",\"message\":\"x\"}",
      "{\"code\":40060.0,\"message\":\"x\"}",
      "{\"id\":40060,\"message\":\"x\",\"errors\":[{\"code\":40060,\"message\":\"x\"}]}",
      "{\"message\":{\"message\":{\"message\":{\"message\":{\"message\":{\"message\":{\"message\":{"
      "\"message\":{"
      "\"message\":{\"message\":" TAKEN "}}}}}}}}}}",
      "[" TAKEN "]",
      "40060",
      "\"[400] Bad.\\nDiscord error: [40060] Taken\"",
      "{\"message\":{\"message\":\"[400] Bad.\\nDiscord error: [40060] Ta", /* cut */
      "",
  };
  for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
    tg_ms wait;
    if (judge(500, bodies[i], -1, &wait) != TG_CALLBACK_AGAIN)
      fail_msg("%s", bodies[i]);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reads_id_type_and_token),
      cmocka_unit_test(refuses_what_cannot_be_answered),
      cmocka_unit_test(tells_when_an_id_was_made),
      cmocka_unit_test(defers_by_type),
      cmocka_unit_test(discord_wants_no_authorization),
      cmocka_unit_test(judges_answers),
      cmocka_unit_test(obeys_rate_limits),
      cmocka_unit_test(reads_discords_error_in_a_proxys),
      cmocka_unit_test(is_not_deceived_by_digits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
