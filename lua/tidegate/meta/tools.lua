---@meta

-- gateway.log, gateway.json, gateway.utf8, gateway.crypto, gateway.metrics.

---One line each; with arguments, `text` is a format as of string.format. A table behind them gives fields:
---names of lower-case letters, digits and _, with strings, numbers or booleans; `shard` is the shard that the
---line is about.
---@class tidegate.Log
local log = {}

---@param text any
---@param ... any
function log.debug(text, ...) end

---@param text any
---@param ... any
function log.info(text, ...) end

---@param text any
---@param ... any
function log.warn(text, ...) end

---@param text any
---@param ... any
function log.error(text, ...) end

---For what goes on to the bot or back to Discord: it keeps its shape. Beside it there is require "cjson".
---@class tidegate.Json
---@field null lightuserdata JSON's null, which is not nil: it keeps its key. It is cjson's, too.
local json = {}

---What is written is UTF-8: torn bytes become U+FFFD, and the log says where they came from. What JSON cannot
---carry (functions, nan, lists with holes, ...) is raised with its path.
---@param value any
---@return string
function json.encode(value) end

---@param text string JSON as RFC 8259 has it, and nothing else.
---@return any
---@return tidegate.Error? err
function json.decode(text) end

---Marks a table as a list: an empty one is written as []. Lists that come from JSON are marked, and empty
---tables under names that are lists at Discord ("embeds", "mentions", ...) need no mark.
---@param list? table
---@return table
function json.array(list) end

---Marks a table as an object: an empty one is written as {}, whatever its name. Objects that come from JSON
---are marked.
---@param object? table
---@return table
function json.object(object) end

---@class tidegate.Utf8
local utf8 = {}

---The longest beginning of at most `bytes` bytes that does not end inside of a character.
---@param text string
---@param bytes integer
---@return string
function utf8.cut(text, bytes) end

---Whether all of it is UTF-8.
---@param text string
---@return boolean
function utf8.valid(text) end

---Bytes are strings; hex and base64 make text of them.
---@class tidegate.Crypto
---@field hex tidegate.Codec
---@field base64 tidegate.Codec With padding.
---@field base64url tidegate.Codec The letters of URLs, without padding.
local crypto = {}

---@class tidegate.Codec
local codec = {}

---@param bytes string
---@return string text
function codec.encode(bytes) end

---@param text string
---@return string|nil bytes
---@return tidegate.Error? err "bad_hex", "bad_base64"
function codec.decode(text) end

---@param algorithm "sha1"|"sha256"|"sha384"|"sha512"
---@param key string
---@param text string
---@return string bytes
function crypto.hmac(algorithm, key, text) end

---@param text string
---@return string bytes 32 of them
function crypto.sha256(text) end

---Bytes that nobody can foresee.
---@param count integer
---@return string bytes
function crypto.random(count) end

---Whether they are equal, in a time that does not tell where they differ: for signatures and secrets.
---@param a string
---@param b string
---@return boolean
function crypto.equal(a, b) end

---Values that live through reloads and the death of a worker, for GET /metrics. Equal names and labels are
---the same metric. Counters and histograms are added up over all processes; a gauge shows for each process,
---once it was set.
---@class tidegate.Metrics
local metrics = {}

---@class tidegate.MetricOptions
---@field help? string
---@field labels? table<string, string|number|boolean> At most 32, of few values.
---@field buckets? number[] The ascending limits of a histogram.

---@class tidegate.Metric
local metric = {}

---For counters and gauges.
---@param n? number 1 if left out; a counter only grows
function metric:add(n) end

---For gauges.
---@param n number
function metric:set(n) end

---For histograms.
---@param n number
function metric:observe(n) end

---@return number value of a histogram the number of observations
function metric:value() end

---@param name string
---@param options? tidegate.MetricOptions
---@return tidegate.Metric
function metrics.counter(name, options) end

---@param name string
---@param options? tidegate.MetricOptions
---@return tidegate.Metric
function metrics.gauge(name, options) end

---@param name string
---@param options? tidegate.MetricOptions
---@return tidegate.Metric
function metrics.histogram(name, options) end
