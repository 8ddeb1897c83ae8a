-- Dead letters over the control API: which there are, sending them again, removing them; and what becomes of
-- them when somebody dies in the middle, or the disk takes nothing.

local cjson = require "cjson"
local failing_disk = require "spec.support.failing_disk"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local raw_client = require "spec.support.raw_client"
local scene = require "spec.support.scene"
local uv = require "luv"

local SECRET = "the secret of the control API"

-- Refuses messages; `but` says which it takes. What it has said, and to what, is in the second result.
local function refuses(status, text, but)
  return function(request, event)
    if event.t == "MESSAGE_CREATE" and not (but and but(request, event)) then
      return status, nil, text
    end
  end
end

describe("dead letters", function()
  local s

  after_each(function()
    raw_client.cleanup()
    scene.stop()
  end)

  local function start(options)
    options.bot = options.bot or { answer = refuses(413, "too large") }
    s = scene.start(options)
    return s
  end

  local function ask(method, path, json, status)
    local answer = s.gateway:control(method, path, { json = json, timeout = 30000 * paths.slow })
    assert.equal(status or 200, answer.status, answer.body)
    return cjson.decode(answer.body)
  end

  local function get(path) return ask("GET", path) end

  -- Messages that became letters: so many in all.
  local function wait_letters(n, path)
    return loop.ask_until(n .. " dead letters", function()
      local list = get(path or "/dead?limit=1000")
      return list.matching == n and list
    end)
  end

  local function bury(n, more)
    local emit = { count = n, shard = 0 }
    for key, value in pairs(more or {}) do
      emit[key] = value
    end
    s.fake:emit(emit)
  end

  local function numbers(list)
    local found = {}
    for i, letter in ipairs(list.letters) do
      found[i] = letter.n
    end
    return found
  end

  local function lines()
    local list = {}
    for i = 4, 0, -1 do
      local text = paths.read(s.gateway.state_dir .. "/dead.jsonl" .. (i > 0 and "." .. i or ""))
      for line in (text or ""):gmatch "[^\n]+" do
        list[#list + 1] = cjson.decode(line)
      end
    end
    return list
  end

  it("are listed, newest first, by what they have in common, and shown one by one", function()
    start { shards = 2, per_worker = 1, workers = 2, fake = { max_concurrency = 2 },
      env = { TIDEGATE_CONTROL_SECRET = SECRET } }
    bury(3)
    wait_letters(3)
    bury(2, { shard = 1 })
    local list = wait_letters(5)
    assert.same({ 5, 4, 3, 2, 1 }, numbers(list))
    assert.equal(cjson.null, list.next)
    assert.equal(cjson.null, list.retry)
    local letter = list.letters[5]
    assert.same({ 1, 0, 2, "MESSAGE_CREATE", 413, "too large" },
      { letter.v, letter.shard, letter.totalShards, letter.t, letter.status, letter.answer })
    assert.is_nil(letter.event)
    -- In pieces.
    local first = get "/dead?limit=2"
    assert.same({ { 5, 4 }, 5, 4 }, { numbers(first), first.matching, first.next })
    local second = get("/dead?limit=2&before=" .. first.next)
    assert.same({ { 3, 2 }, 5, 2 }, { numbers(second), second.matching, second.next })
    local last = get "/dead?limit=2&before=2"
    assert.same({ { 1 }, cjson.null }, { numbers(last), last.next })
    -- By what they have in common.
    assert.same({ 5, 4 }, numbers(get "/dead?shard=1"))
    assert.same({ 3, 2, 1 }, numbers(get "/dead?shard=0&type=MESSAGE_CREATE&status=413&sink=bot"))
    assert.same({}, numbers(get "/dead?type=TYPING_START"))
    assert.same({}, numbers(get "/dead?sink=stats"))
    assert.same({}, numbers(get "/dead?status=400"))
    assert.same({ 5, 4, 3, 2, 1 }, numbers(get("/dead?since=" .. ("%d"):format(letter.at))))
    assert.same({}, numbers(get("/dead?since=" .. ("%d"):format(list.letters[1].at + 1))))
    -- One.
    local whole = get "/dead/2"
    assert.same({ 2, "MESSAGE_CREATE" }, { whole.n, whole.event.t })
    assert.is_string(whole.event.d.nonce)
    assert.same({ error = "there is no dead letter 77", code = "no_letter" },
      ask("GET", "/dead/77", nil, 404))
    assert.equal(404, s.gateway:control("GET", "/dead/x").status)
    -- What makes no sense is said.
    assert.matches("shard has to be a number", ask("GET", "/dead?shard=x", nil, 400).error)
    assert.matches('no "shrad"; did you mean "shard"', ask("GET", "/dead?shrad=1", nil, 400).error)
    assert.matches("which letters%?", ask("POST", "/dead/retry", {}, 400).error)
    assert.matches("status has to be", ask("POST", "/dead/purge", { status = "x" }, 400).error)
    assert.matches("numbers has to be a list", ask("POST", "/dead/purge", { numbers = { "1" } }, 400).error)
    assert.matches('no "limit"', ask("POST", "/dead/retry", { limit = 1 }, 400).error)
    for _, path in ipairs { "/dead", "/dead/1" } do
      assert.equal(401, s.gateway:control("GET", path, { secret = false }).status)
    end
    for _, path in ipairs { "/dead/retry", "/dead/purge" } do
      assert.equal(401, s.gateway:control("POST", path, { secret = "x", json = { all = true } }).status)
    end
    local status = loop.ask_until("the count of letters", function()
      local kept = get("/status").deadLetters
      return kept.letters == 5 and kept
    end)
    assert.same({ 5, cjson.null }, { status.newest, status.retry })
    assert.is_true(status.bytes > 500)
  end)

  it("are delivered again with their own keys, as late ones, and are gone then", function()
    start {}
    bury(4)
    wait_letters(4)
    local letters = lines()
    s.bot:answer(nil)
    bury(1) -- what is new goes on meanwhile
    s.bot:wait_for_events(1, "MESSAGE_CREATE")
    s.bot:forget()
    local said = ask("POST", "/dead/retry", { numbers = { 3, 1 } })
    assert.same({ 2, 2, 0, 0, 0, 0, 0, {} },
      { said.letters, said.delivered, said.refused, said.failed, said.untried, said.gone, said.masked,
        said.problems })
    assert.equal(2, #s.bot.events)
    for i, event in ipairs(s.bot.events) do
      local letter = letters[event.s == letters[1].s and 1 or 3]
      assert.equal(("%d.%d.%d"):format(letter.shard, letter.epoch, letter.s), event.key)
      assert.is_true(event.late)
      assert.equal(letter.event.d.nonce, event:data().nonce, i)
      assert.equal(letter.totalShards, event.total)
    end
    assert.same({ 4, 2 }, numbers(get "/dead"))
    ask("GET", "/dead/1", nil, 404)
    said = ask("POST", "/dead/retry", { all = true })
    assert.same({ 2, 2 }, { said.letters, said.delivered })
    assert.same({}, numbers(get "/dead"))
    -- Numbers go on: who has noted one never means another letter by it.
    s.bot:answer(refuses(413, "too large"))
    bury(1)
    assert.same({ 5 }, numbers(wait_letters(1)))
    assert.equal(4, #s.bot:select "MESSAGE_CREATE")
    s.gateway:wait_for_log "2 are delivered, 0 were refused again, 0 could not be delivered, 0 were not tried"
    local metrics = s.gateway:control("GET", "/metrics").body
    assert.matches('tidegate_dead_letters_retried_total{result="delivered"} 4\n', metrics)
  end)

  it("stay when the bot refuses them again, with what it has said last", function()
    start {}
    bury(2)
    wait_letters(2)
    local first = lines()[1].s
    s.bot:answer(refuses(422, "no \"such\"\nthing", function(_, event) return event.s == first end))
    local said = ask("POST", "/dead/retry", { type = "MESSAGE_CREATE" })
    assert.same({ 2, 1, 1 }, { said.letters, said.delivered, said.refused })
    assert.same({ { n = 2, outcome = "refused", status = 422, reason = "no \"such\"\nthing" } },
      said.problems)
    local list = get "/dead"
    local letter = list.letters[1]
    assert.same({ 1, 2, 422, "no \"such\"\nthing", 1 },
      { list.matching, letter.n, letter.status, letter.answer, letter.retries })
    assert.is_true(letter.retriedAt >= letter.at)
    ask("POST", "/dead/retry", { status = 422 })
    letter = get("/dead/2")
    assert.same({ 2, 422 }, { letter.retries, letter.status })
    assert.is_string(letter.event.d.nonce)
    s.bot:answer(nil)
    assert.equal(1, ask("POST", "/dead/retry", { numbers = { 2 } }).delivered)
  end)

  it("are not tried one after the other at a bot that is down, or wants to be left alone", function()
    start {}
    bury(30)
    wait_letters(30)
    s.bot:answer(function(_, event)
      if event.t == "MESSAGE_CREATE" then
        return 429, { ["Retry-After"] = "60" }
      end
    end)
    local said = ask("POST", "/dead/retry", { all = true })
    assert.same({ 30, 0, 30, { "bot" } },
      { said.letters, said.delivered + said.refused, said.failed + said.untried, said.stuck })
    assert.is_true(said.failed <= 8, said.failed)
    s.bot:down()
    said = ask("POST", "/dead/retry", { all = true })
    assert.is_true(said.failed <= 8, said.failed)
    assert.equal(30, get("/dead").matching)
    s.bot:up()
    s.bot:answer(nil)
    -- Whether the circuit is open or not: somebody has asked for it.
    assert.equal(30, ask("POST", "/dead/retry", { all = true }).delivered)
  end)

  it("say so when their secrets are gone", function()
    start { bot = { answer = function(_, event)
      if event.t == "INTERACTION_CREATE" then
        return 413
      end
    end } }
    s.fake:emit { interaction = 2, shard = 0 }
    wait_letters(1)
    s.bot:answer(nil)
    local said = ask("POST", "/dead/retry", { all = true })
    assert.same({ 1, 1 }, { said.delivered, said.masked })
    assert.equal("***", s.bot:select("INTERACTION_CREATE")[1]:data().token)
  end)

  it("go to the sink that has refused them, by a script's deliver, too; and stay when it is gone", function()
    start {
      bot = { answer = function() end },
      sinks = { audit = { answer = refuses(413, "no") } },
      hurry = 20,
      script = function(scene_)
        return ([[
local gateway = require "tidegate"
gateway.configure { sinks = { audit = { url = %q, authorization = %q, events = { "MESSAGE_CREATE" } },
  own = { events = { "MESSAGE_CREATE" } } } }
local wants = false
gateway.sink("own").deliver = function(events)
  if not gateway.state.wants then
    return nil, { code = "status", status = 413, message = "not now" }
  end
  for _, event in ipairs(events) do
    gateway.log.info("own has got %%d, late %%s", event.sequence, tostring(event.late))
  end
  return true
end
gateway.on("TYPING_START", function() gateway.state.wants = true end)
]]):format(scene_.sinks.audit.url, scene_.sinks.audit.authorization)
      end,
    }
    bury(2)
    wait_letters(2, "/dead?sink=audit")
    wait_letters(2, "/dead?sink=own")
    assert.equal(0, get("/dead?sink=bot").matching)
    local s1 = get("/dead?sink=own&limit=1").letters[1].s
    s.sinks.audit:answer(nil)
    s.bot:forget()
    assert.same(2, ask("POST", "/dead/retry", { sink = "audit" }).delivered)
    assert.same({ 2, 0 }, { #s.sinks.audit:select "MESSAGE_CREATE", #s.bot:select "MESSAGE_CREATE" })
    assert.equal(2, ask("POST", "/dead/retry", { sink = "own" }).refused)
    s:type()
    loop.ask_until("the sink to take them",
      function() return ask("POST", "/dead/retry", { sink = "own" }).delivered == 2 end)
    s.gateway:wait_for_log(("own has got %d, late true"):format(s1))
    -- A sink that is not configured any more.
    s.sinks.audit:answer(refuses(413, "no"))
    bury(1)
    wait_letters(1, "/dead?sink=audit")
    paths.write(s.gateway.script, "\n")
    assert.is_true(s.gateway:reload())
    local said = ask("POST", "/dead/retry", { sink = "audit" })
    assert.same({ 0, 1, 'the sink "audit" is not configured any more' },
      { said.delivered, said.failed, said.problems[1].reason })
    assert.equal(1, ask("POST", "/dead/purge", { sink = "audit" }).removed)
  end)

  it("reach a bot whose script posts them by the default", function()
    start {
      script = [[
local gateway = require "tidegate"
local deliver = gateway.delivery.deliver
function gateway.delivery:deliver(events) return deliver(self, events) end
]],
    }
    bury(2)
    wait_letters(2)
    s.bot:answer(nil)
    assert.equal(2, ask("POST", "/dead/retry", { all = true }).delivered)
    local events = s.bot:select "MESSAGE_CREATE"
    assert.equal(2, #events)
    assert.is_true(events[1].late)
  end)

  it("are removed when somebody says so, and others stay", function()
    start {}
    bury(10)
    wait_letters(10)
    local path = s.gateway.state_dir .. "/dead.jsonl"
    local size = #paths.read(path)
    assert.equal(3, ask("POST", "/dead/purge", { numbers = { 2, 10, 4, 99 } }).removed)
    assert.same({ 9, 8, 7, 6, 5, 3, 1 }, numbers(get "/dead"))
    assert.is_true(#paths.read(path) < size * 0.8)
    bury(1)
    assert.equal(11, wait_letters(8).letters[1].n)
    assert.equal(8, ask("POST", "/dead/purge", { all = true }).removed)
    assert.equal('{"v":0,"n":11}\n', paths.read(path))
    assert.equal(tonumber("600", 8), uv.fs_stat(path).mode % 512)
    bury(1)
    assert.equal(12, wait_letters(1).letters[1].n)
  end)

  it("come again, and are never lost, when worker and manager are killed in the middle", function()
    start { hurry = 5 }
    bury(40)
    wait_letters(40)
    local wanted, got = {}, {}
    for _, letter in ipairs(lines()) do
      wanted[("%d.%d.%d"):format(letter.shard, letter.epoch, letter.s)] = true
    end
    s.bot:answer(nil)
    s.bot:delay(20)
    for round = 1, 3 do
      -- Its answer is not waited for: who is asked dies.
      loop.ask_until("the end of the last one", function()
        local answer = s.gateway:control("GET", "/dead")
        return answer and answer.status == 200 and answer:json().retry == cjson.null
      end)
      local before = #s.bot.events
      local client = raw_client.connect(s.gateway:control_url())
      client:write('POST /dead/retry HTTP/1.1\r\nHost: localhost\r\nContent-Length: 12\r\n\r\n{"all":true}')
      loop.wait_for(function() return ("some letters in round %d: %s"):format(round, client.received) end,
        function() return #s.bot.events >= before + 5 end)
      if round == 2 then
        s.gateway.process:kill "SIGKILL"
        s.gateway.process:wait(15000, 2)
        s:again()
      else
        local pid = get("/status").workers[1].pid
        uv.kill(pid, "sigkill")
        loop.ask_until("another worker", function()
          local worker = get("/status").workers[1]
          return worker.state == "running" and worker.pid ~= pid
        end)
      end
      s.gateway:wait_ready(1)
    end
    s.bot:delay(nil)
    loop.ask_until("the last letter", function()
      local answer = s.gateway:control("POST", "/dead/retry", { json = { all = true }, timeout = 30000 })
      return answer.status == 200 and get("/dead").matching == 0
    end)
    for _, event in ipairs(s.bot:select "MESSAGE_CREATE") do
      got[event.key] = true
    end
    assert.same(wanted, got)
  end)

  it("come again when the disk does not take that they are gone", function()
    local disk = failing_disk.new "dead.jsonl"
    start { env = disk:env() }
    bury(3)
    wait_letters(3)
    disk:fail(failing_disk.EIO)
    s.bot:answer(nil)
    local said = ask("POST", "/dead/retry", { numbers = { 1, 2 } })
    assert.same({ 2, 0 }, { said.delivered, said.refused })
    assert.matches("cannot write to .*dead.jsonl: Input/output error", said.problems[1].reason)
    assert.matches("cannot write to", ask("POST", "/dead/purge", { all = true }, 500).error)
    assert.same({ 3, 2, 1 }, numbers(get "/dead"))
    disk:mend()
    assert.equal(3, ask("POST", "/dead/retry", { all = true }).delivered)
    assert.equal(5, #s.bot:select "MESSAGE_CREATE")
    assert.same({}, numbers(get "/dead"))
    assert.equal('{"v":0,"n":3}\n', paths.read(s.gateway.state_dir .. "/dead.jsonl"))
  end)
end)
