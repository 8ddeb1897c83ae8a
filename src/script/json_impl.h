#pragma once

/* Shared by json_decode.c and json_encode.c. */

enum { TG_JSON_DEPTH = 256 };

/* The registry key (its address) of the metatable that marks arrays. */
extern char tg_json_array_key[1];
