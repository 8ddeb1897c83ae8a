-- Answers over HTTP that never end, from whoever is asked. They are cut off: what is read of them, and how
-- long, does not depend on how much there is.

local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local raw_bot = require "spec.support.raw_bot"
local rest_server = require "spec.support.rest_server"
local scene = require "spec.support.scene"

local pour, STAY = raw_bot.pour, raw_bot.STAY

-- What the buffers of two sockets hold is sent before anybody has read it.
local MOST = 24 * 1024 * 1024
local SOON = 4000 * paths.slow -- ms; all time-outs here are longer

local CHUNKED = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
local LARGE_HEAD =
  "the head of the answer is too large: what answers there has to send shorter headers"
local LARGE_BODY = "the answer is larger than %d+ bytes"

-- Name, steps of the answer, and what is said where the body counts. `head`: the head has come to its end, so
-- that it is an answer where the head alone counts.
local ANSWERS = {
  { "a body of 10 GB", { "HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n", pour "x" },
    LARGE_BODY, head = true },
  { "a body without a length", { "HTTP/1.1 200 OK\r\n\r\n", pour "x" }, LARGE_BODY, head = true },
  { "a body in chunks", { CHUNKED, pour("1000\r\n" .. ("x"):rep(4096) .. "\r\n") }, LARGE_BODY, head = true },
  { "a trailer", { CHUNKED .. "0\r\n", pour "X-Name: value\r\n" }, LARGE_HEAD, head = true },
  { "a line of the trailer", { CHUNKED .. "0\r\nX-Name: ", pour "x" }, LARGE_HEAD, head = true },
  { "a head", { "HTTP/1.1 200 OK\r\n", pour "X-Name: value\r\n" }, LARGE_HEAD },
  { "a line of the head", { "HTTP/1.1 200 OK\r\nX-Name: ", pour "x" }, LARGE_HEAD },
  { "a first line", { "HTTP/1.1 200 ", pour "x" }, LARGE_HEAD },
  { "answers that are still to come", { pour "HTTP/1.1 100 Continue\r\n\r\n" }, LARGE_HEAD },
}

for _, row in ipairs(ANSWERS) do
  table.insert(row[2], STAY)
end

local function assert_cut(server, since)
  loop.wait_for("the end of the answer", function()
    local last = server.pours[#server.pours]
    return last and last.over
  end)
  local took, bytes = loop.now() - since, server.pours[#server.pours].bytes
  assert.is_true(took < SOON, ("it was read for %d ms"):format(took))
  assert.is_true(bytes < MOST, ("%d bytes were read"):format(bytes))
end

describe("an answer without an end", function()
  after_each(scene.stop)

  -- Each row in turn, to one request each; then `last`.
  local function answer_in_turn(server, last)
    local number = 0
    server:answer(function()
      number = number + 1
      server.since = loop.now()
      return ANSWERS[number] and ANSWERS[number][2] or last
    end)
  end

  for _, row in ipairs(ANSWERS) do
    it(("of REST to the start is cut: %s"):format(row[1]), function()
      local rest = raw_bot.start()
      local s = scene.start { ready = false, env = { REST_URL = rest.url } }
      local good = rest_server.info(s.fake)[3]
      local asked = 0
      rest:answer(function()
        asked = asked + 1
        rest.since = loop.now()
        return asked == 1 and row[2]
          or { ("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"):format(#good, good) }
      end)
      rest:wait_for_requests(1)
      assert_cut(rest, rest.since)
      s.gateway:wait_for_log(row[3])
      s.gateway:wait_ready(1)
      assert.not_matches("[Oo]ut of memory", s.gateway.stderr)
    end)
  end

  it("of a bot is cut, and counts if its head has come to its end", function()
    local bot = raw_bot.start()
    local s = scene.start { bot = { bot } }
    for _, row in ipairs(ANSWERS) do
      local first
      bot:answer(function(request)
        if request.t ~= "TYPING_START" or (first and first ~= request.key) then
          return nil
        end
        local again = first == request.key
        first, bot.since = request.key, bot.since or loop.now()
        return not again and row[2] or nil
      end)
      local seen, from = #bot:select "TYPING_START", #s.gateway.stderr
      bot.since = nil
      s:type "1"
      bot:wait_for_requests(seen + 1, "TYPING_START")
      assert_cut(bot, bot.since)
      s:type "2" -- behind it
      local tries = row.head and 1 or 2
      local requests = bot:wait_for_requests(seen + tries + 1, "TYPING_START")
      assert.equal(seen + tries + 1, #requests, row[1])
      assert.equal(tries == 2, requests[seen + 1].key == requests[seen + 2].key, row[1])
      local log = s.gateway.stderr:sub(from + 1)
      assert.not_matches("[Oo]ut of memory", log)
      if not row.head then
        assert.matches(row[3], log)
      end
    end
  end)

  -- What gateway.http.get() makes of the rows, with these options.
  local function try_script(options, check)
    local server = raw_bot.start()
    answer_in_turn(server, { "HTTP/1.1 204 No Content\r\n\r\n" })
    local s = scene.start { script = ([[
local gateway = require "tidegate"
gateway.on("TYPING_START", function()
  local response, err = gateway.http.get("%s", %s)
  gateway.log.info("asked: %%s", response and response.status .. " and " .. #response.body or err.message)
end)
]]):format(server.url, options) }
    for i, row in ipairs(ANSWERS) do
      s:type "1"
      server:wait_for_requests(i)
      assert_cut(server, server.since)
      local says = check(row)
      loop.wait_for(row[1] .. ": " .. says, function()
        return s.gateway:count_log "asked: " == i
      end)
      local line
      for text in s.gateway.stderr:gmatch "asked: ([^\n]*)" do
        line = text
      end
      assert.matches(says, line, row[1])
    end
  end

  it("to a script is cut", function()
    try_script("{}", function(row) return row[3] end)
  end)

  it("to a script that wants no body is cut, and is an answer if its head has come to its end", function()
    try_script("{ max_body = 0 }", function(row)
      return row[3] == LARGE_BODY and "200 and 0" or row[3]
    end)
  end)

  it("to the upgrade is cut", function()
    local server = raw_bot.start()
    answer_in_turn(server, { STAY })
    local s = scene.start { ready = false, bot = false, hurry = 50,
      env = { GATEWAY_URL = server.url:gsub("^http", "ws") } }
    for i = 1, #ANSWERS do
      server:wait_for_requests(i)
      assert_cut(server, server.since)
      assert.equal(i, #server.pours)
    end
    server:wait_for_requests(#ANSWERS + 1)
    assert.matches("answered the WebSocket upgrade with HTTP status 200", s.gateway.stderr)
  end)
end)
