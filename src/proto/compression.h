#pragma once

/* How Discord's gateway compresses what it sends on one connection (`compress` of the URL's query). */
enum tg_compression {
  TG_COMPRESSION_NONE,
  TG_COMPRESSION_ZLIB, /* zlib-stream: one stream, each message ends with a sync flush */
  TG_COMPRESSION_ZSTD  /* zstd-stream */
};
