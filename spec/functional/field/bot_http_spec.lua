-- What bots have answered, and what becomes of the event then. A new case is a row.
--
--   { name, what becomes of it, steps of the answer (spec/support/raw_bot.lua), options }
--
--   "accepted"   it was sent once, and the next one comes at once
--   "again"      it comes a second time, and is accepted then
--   "dead"       it is a dead letter after two tries, and the next one comes at once
--
-- options: says, words of the reason that the log gives; everywhere, also tried with events that are sent in
-- batches, by a script, and as interactions that pass others; at_head, the event has 3 MB, and the bot
-- answers before it has read them.

local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local raw_bot = require "spec.support.raw_bot"
local scene = require "spec.support.scene"

local CLOSE, RESET, STAY, pour = raw_bot.CLOSE, raw_bot.RESET, raw_bot.STAY, raw_bot.pour

local TIMEOUT = paths.slow > 1 and 2500 or 1000

-- Lines as HTTP wants them, and the empty one behind.
local function head(...)
  return table.concat({ ... }, "\r\n") .. "\r\n\r\n"
end

local function drop_by_drop(text)
  local steps = {}
  for i = 1, #text do
    steps[#steps + 1] = text:sub(i, i)
    steps[#steps + 1] = 1
  end
  return steps
end

-- So many bytes of header lines.
local function header_lines(bytes, each)
  local lines = {}
  for i = 1, math.ceil(bytes / each) do
    lines[i] = ("X-Number-%d: %s"):format(i, ("x"):rep(each - 15))
  end
  return table.concat(lines, "\r\n")
end

local ANSWERS = {
  { "200 with a body", "accepted", { head("HTTP/1.1 200 OK", "Content-Length: 2"), "ok" } },
  { "204", "accepted", { head "HTTP/1.1 204 No Content" } },
  { "204 with a body, which HTTP forbids", "accepted",
    { head("HTTP/1.1 204 No Content", "Content-Length: 5") .. "hello" } },
  { "299", "accepted", { head("HTTP/1.1 299 Whatever", "Content-Length: 0") } },
  { "HTTP/1.0 without a length", "accepted", { head "HTTP/1.0 200 OK", "ok", CLOSE } },
  { "200 without a length, and stays", "accepted", { head "HTTP/1.1 200 OK", "ok", STAY } },
  { "200 without words", "accepted", { head("HTTP/1.1 200", "Content-Length: 0") } },
  { "a body that never ends", "accepted",
    { head("HTTP/1.1 200 OK", "Content-Length: 100"), "only so much", STAY }, { everywhere = true } },
  { "a body that trickles", "accepted",
    { head("HTTP/1.1 200 OK", "Content-Length: 10000"), "a", 300, "b", 300, "c", 300, "d", STAY } },
  { "a body of 10 GB", "accepted",
    { head("HTTP/1.1 200 OK", "Content-Length: 10000000000"), pour "x", STAY } },
  { "chunks without an end", "accepted",
    { head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"), "2\r\nok\r\n", STAY } },
  { "chunks that are none", "accepted",
    { head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"), "not a length\r\n", STAY } },
  { "an endless stream of events", "accepted",
    { head("HTTP/1.1 200 OK", "Content-Type: text/event-stream"), 50, "data: hello\n\n", STAY } },
  { "a length that is too small", "accepted", { head("HTTP/1.1 200 OK", "Content-Length: 2") .. "hello" } },
  { "a length that is too large, and closes", "accepted",
    { head("HTTP/1.1 200 OK", "Content-Length: 100"), "hello", CLOSE }, { everywhere = true } },
  { "a length that is no number", "accepted", { head("HTTP/1.1 200 OK", "Content-Length: five"), "hello" } },
  { "a negative length", "accepted", { head("HTTP/1.1 200 OK", "Content-Length: -1"), "hello" } },
  { "a length beyond all numbers", "accepted",
    { head("HTTP/1.1 200 OK", "Content-Length: 99999999999999999999999"), "hello", STAY } },
  { "two lengths", "accepted",
    { head("HTTP/1.1 200 OK", "Content-Length: 5", "Content-Length: 50"), "hello", STAY } },
  { "a length beside chunks", "accepted",
    { head("HTTP/1.1 200 OK", "Content-Length: 50", "Transfer-Encoding: chunked"), "2\r\nok\r\n0\r\n\r\n" } },
  { "an encoding that nobody knows", "accepted",
    { head("HTTP/1.1 200 OK", "Transfer-Encoding: rot13"), "uryyb", CLOSE } },
  { "gzip that is none", "accepted",
    { head("HTTP/1.1 200 OK", "Content-Encoding: gzip", "Content-Length: 5"), "hello" } },
  { "70 KB of headers", "accepted",
    { head("HTTP/1.1 200 OK", header_lines(70000, 1000), "Content-Length: 0") }, { everywhere = true } },
  { "a header of 70 KB", "accepted",
    { head("HTTP/1.1 200 OK", header_lines(70000, 70000), "Content-Length: 0") } },
  { "a header without a colon", "accepted", { head("HTTP/1.1 200 OK", "what is this") } },
  { "a NUL in a header", "accepted", { head("HTTP/1.1 200 OK", "X-Name: a\0b", "Content-Length: 0") } },
  { "a header that is folded", "accepted",
    { head("HTTP/1.1 200 OK", "X-Name: a", "  b", "Content-Length: 0") } },
  { "LF alone between the lines", "accepted", { "HTTP/1.1 200 OK\nContent-Length: 0\n\n" } },
  { "its head byte by byte", "accepted", drop_by_drop(head("HTTP/1.1 200 OK", "Content-Length: 0")) },
  { "100, 102 and 103 before 200", "accepted",
    { head "HTTP/1.1 100 Continue", head "HTTP/1.1 102 Processing", 20,
      head("HTTP/1.1 103 Early Hints", "Link: </style.css>"), head "HTTP/1.1 204 No Content" } },
  { "200, and closes behind its head", "accepted",
    { head("HTTP/1.1 200 OK", "Content-Length: 5"), CLOSE } },
  { "200, and breaks the connection", "accepted",
    { head("HTTP/1.1 200 OK", "Content-Length: 0"), 20, RESET } },
  { "204, and closes without a word", "accepted", { head "HTTP/1.1 204 No Content", CLOSE } },
  { "204, and closes a little later", "accepted", { head "HTTP/1.1 204 No Content", 20, CLOSE } },
  { "twice", "accepted", { head "HTTP/1.1 204 No Content" .. head "HTTP/1.1 204 No Content" } },
  { "204, and 500 in the same breath", "accepted",
    { head "HTTP/1.1 204 No Content" .. head("HTTP/1.1 500 No", "Content-Length: 0") } },

  { "nothing, and closes", "again", { CLOSE } },
  { "nothing, and breaks the connection", "again", { RESET } },
  { "half a status line, and closes", "again", { "HTTP/1.1 20", CLOSE } },
  { "the status line alone, and closes", "again", { "HTTP/1.1 200 OK\r\n", CLOSE },
    { says = "the head of its answer did not end" } },
  { "half a head, and closes", "again", { "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", CLOSE },
    { says = "the head of its answer did not end", everywhere = true } },
  { "half a head, and stays", "again", { "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", STAY },
    { says = "the head of its answer did not end within %d+ ms" } },
  { "nothing, and stays", "again", { STAY }, { says = "no answer came within %d+ ms" } },
  { "a head that trickles for ever", "again",
    { "HTTP/1.1 200 OK\r\n", "A: b\r\n", 300, "C: d\r\n", 300, "E: f\r\n", 300, "G: h\r\n", STAY },
    { says = "the head of its answer did not end" } },
  { "a head of 10 GB", "again", { "HTTP/1.1 200 OK\r\n", pour "X-Name: value\r\n", STAY },
    { says = "the head of the answer is too large" } },
  { "a header of 1 MB", "again", { head("HTTP/1.1 200 OK", header_lines(1000000, 1000000)) },
    { says = "the head of the answer is too large" } },
  { "100 alone, and closes", "again", { head "HTTP/1.1 100 Continue", CLOSE } },
  { "100 alone, and stays", "again", { head "HTTP/1.1 100 Continue", STAY } },
  { "101", "again", { head("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket"), CLOSE } },
  { "500 with a body that never ends", "again",
    { head("HTTP/1.1 500 No", "Content-Length: 100"), "so", STAY },
    { says = "it answered 500" } },
  { "500 with a body of 10 GB", "again",
    { head("HTTP/1.1 500 No", "Content-Length: 10000000000"), pour "x", STAY },
    { says = "it answered 500" } },
  { "a status that is none", "again", { head("HTTP/1.1 999 What", "Content-Length: 0") } },
  { "a version that is none", "again", { head("HTTP/3.7 200 OK", "Content-Length: 0") } },
  { "another version", "again", { head("HTTP/2.0 200 OK", "Content-Length: 0") },
    { says = "does not speak HTTP" } },
  { "the greeting of a mail server", "again", { "220 mail.example.com ESMTP\r\n" },
    { says = "does not speak HTTP" } },
  { "as HTTP/0.9 did", "again", { "<html>ok</html>\n", CLOSE }, { says = "does not speak HTTP" } },
  { "as a TLS server that wants https://", "again", { "\21\3\3\0\2\2\40", CLOSE },
    { says = "does not speak HTTP, or wants https://" } },
  { "zeros", "again", { ("\0"):rep(100) } },

  { "413", "dead", { head("HTTP/1.1 413 Too Large", "Content-Length: 9"), "too large" } },
  { "413 with a body that never ends", "dead",
    { head("HTTP/1.1 413 Too Large", "Content-Length: 100"), "too large", STAY } },
  { "413, and closes", "dead", { head("HTTP/1.1 413 Too Large", "Connection: close"), "too large", CLOSE } },
  { "413 at its head, and closes", "dead",
    { head("HTTP/1.1 413 Too Large", "Connection: close"), "too large", CLOSE }, { at_head = true } },
  { "413 at its head, and breaks the connection", "dead",
    { head("HTTP/1.1 413 Too Large", "Content-Length: 0"), 50, RESET }, { at_head = true } },
  { "413 at its head, and stays", "dead",
    { head("HTTP/1.1 413 Too Large", "Content-Length: 100"), STAY }, { at_head = true } },
  { "200 at its head, and stays", "accepted",
    { head("HTTP/1.1 200 OK", "Content-Length: 0"), STAY }, { at_head = true } },
  { "200 at its head, and closes", "accepted",
    { head("HTTP/1.1 200 OK", "Content-Length: 0"), 50, CLOSE }, { at_head = true } },
}

local TRIES = { accepted = 1, again = 2, dead = 2 }

-- Answers all tries of the first message that comes by these steps, or the first one alone if the second is
-- to be accepted; everything else by 204.
local function answer_first(bot, row)
  local _, becomes, steps, options = unpack(row)
  local key, tried
  local function policy(request_key)
    key, tried = key or request_key, request_key == key and tried or 0
    if request_key == key and (becomes ~= "again" or tried == 0) then
      tried = tried + 1
      return steps
    end
  end
  local at_head = options and options.at_head
  bot:on_head(at_head and function(headers)
    if tonumber(headers["content-length"]) > 1e6 then
      local request = { key = headers["idempotency-key"], t = "MESSAGE_CREATE", at = loop.now() }
      bot.requests[#bot.requests + 1] = request
      return policy(request.key)
    end
  end)
  bot:answer(not at_head and function(request)
    return request.t == "MESSAGE_CREATE" and policy(request.key) or nil
  end)
end

local function letters(s)
  return select(2, (paths.read(s.gateway.state_dir .. "/dead.jsonl") or ""):gsub("\n", ""))
end

-- One event is answered by the row, the next one behind it by 204.
local function try(s, row)
  local _, becomes, _, options = unpack(row)
  local seen, from, dead = #s.bot:select "MESSAGE_CREATE", #s.gateway.stderr, letters(s)
  local tries = TRIES[becomes]
  answer_first(s.bot, row)
  s.fake:emit { count = 1, shard = 0, size = options and options.at_head and 3000000 or nil }
  s.bot:wait_for_requests(seen + 1, "MESSAGE_CREATE")
  s.fake:emit { count = 1, shard = 0 }
  local new = { unpack(s.bot:wait_for_requests(seen + tries + 1, "MESSAGE_CREATE", 15000), seen + 1) }
  for i = 2, tries do
    assert.equal(new[1].key, new[i].key)
  end
  assert.not_equal(new[1].key, new[tries + 1].key)
  assert.equal(tries + 1, #new)
  if becomes ~= "again" then
    local took, most = new[#new].at - new[1].at, becomes == "dead" and 3 * TIMEOUT or TIMEOUT
    assert.is_true(took < most, ("the next one came after %d ms"):format(took))
  end
  assert.equal(becomes == "dead" and dead + 1 or dead, letters(s))
  if options and options.says then
    s.gateway:wait_for_log("not delivered: sent again [^\n]*" .. options.says)
    assert.truthy(s.gateway.stderr:find("not delivered: sent again [^\n]*" .. options.says, from))
  end
end

local function start(way)
  local s = scene.start {
    bot = { raw_bot.start() },
    script = ([[
local gateway = require "tidegate"
gateway.configure { event_handler = { timeout = %d, batch = %s }, interaction = { express = %s } }
]]):format(TIMEOUT, way.batch or false, way.express or false) .. (way.script or ""),
  }
  local guilds = #s.fake:guilds()
  loop.wait_for("the guilds, in batches or not", function()
    local count = 0
    for _, request in ipairs(s.bot.requests) do
      count = count + select(2, request.body:gsub('"t":"GUILD_CREATE"', ""))
    end
    return count == guilds
  end)
  return s
end

-- An interaction that comes while a message is under way, and is answered by the row.
local function try_beside(s, row)
  local _, becomes, steps = unpack(row)
  local seen, messages = #s.bot:select "INTERACTION_CREATE", #s.bot:select "MESSAGE_CREATE"
  local key
  s.bot:answer(function(request)
    if request.t == "INTERACTION_CREATE" and not key then
      key = request.key
      return steps
    elseif request.t == "MESSAGE_CREATE" and not key then
      return { 300, "HTTP/1.1 204 No Content\r\n\r\n" }
    end
  end)
  s.fake:emit { count = 1, shard = 0 }
  s.bot:wait_for_requests(messages + 1, "MESSAGE_CREATE")
  s.fake:emit { interaction = 2, shard = 0 }
  s.fake:emit { count = 1, shard = 0 }
  s.bot:wait_for_requests(messages + 2, "MESSAGE_CREATE")
  local new = { unpack(s.bot:select "INTERACTION_CREATE", seen + 1) }
  assert.equal(becomes == "accepted" and 1 or 2, #new)
end

local WAYS = {
  { "alone", try = try },
  { "in a batch", try = try, batch = true },
  { "by a script's deliver", try = try, script = [[
local deliver = gateway.delivery.deliver
function gateway.delivery:deliver(events) return deliver(self, events) end
]] },
  { "past others", try = try_beside, express = true },
}

for i, way in ipairs(WAYS) do
  describe(("an event that is sent %s, and answered by"):format(way[1]), function()
    local s

    setup(function() s = start(way) end)
    teardown(scene.stop)

    for _, row in ipairs(ANSWERS) do
      if i == 1 or row[4] and row[4].everywhere then
        it(("%s: %s"):format(row[1], row[2]), function() way.try(s, row) end)
      end
    end
  end)
end

describe("https:// where the bot speaks plain HTTP", function()
  after_each(scene.stop)

  it("is wrongly set up, and nothing is lost", function()
    local bot = raw_bot.start { greeting = head "HTTP/1.1 400 Bad Request" }
    local s = scene.start {
      bot = { bot }, hurry = 10,
      env = { EVENT_HANDLER_URL = bot.url:gsub("^http:", "https:") },
    }
    s.gateway:wait_for_log "error [^\n]*the event handler is down: [^\n]*that the port speaks TLS"
    s.fake:emit { count = 1 }
    s.gateway:stop()
    bot.greeting = nil
    s:again { env = { EVENT_HANDLER_URL = bot.url } }
    bot:wait_for_requests(1, "MESSAGE_CREATE")
    assert.equal(1, #bot:select "READY")
  end)
end)
