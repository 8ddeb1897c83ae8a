-- `tidegate ctl reshard` against a control API that says of a resharding what the spec wants it to.

local cjson = require "cjson"
local http = require "spec.support.http"
local paths = require "spec.support.paths"
local process = require "spec.support.process"

local function running(changes)
  local result = {
    from = 4, to = 8, phase = "identifying", duration = 10000, eta = 30000, up = 0, classes = 4,
    byState = { waiting = 4 }, waitsFor = cjson.null, held = { events = 0, bytes = 0 },
    unmatched = {}, cut = {},
  }
  for key, value in pairs(changes or {}) do result[key] = value end
  return { running = result, planned = cjson.null, last = cjson.null }
end

local function over(result, reason)
  return {
    running = cjson.null, planned = cjson.null, last = {
      result = result, reason = reason or cjson.null, from = 4, to = 8, identifies = 8, duration = 182000,
    },
  }
end

local NOTHING = { running = cjson.null, planned = cjson.null, last = cjson.null }
local BEGUN = { 202, { from = 4, to = 8, identifies = 8 } }

local STEPS = {
  running { up = 3 },
  running { up = 3, eta = 29000 }, -- the same step
  running { up = 8, phase = "matching", byState = { overlap = 3, ready = 1 } },
  running { up = 8, phase = "switching", byState = { ready = 3, switched = 1 },
    waitsFor = "guild 41771983423143937, which is unavailable on its new shard" },
  running { up = 8, phase = "settling", byState = { switched = 1, settled = 3 }, eta = cjson.null },
  running { up = 8, phase = "closing", byState = { settled = 1, gone = 3 } },
}

describe("tidegate ctl reshard", function()
  local server, asked

  -- What GET /reshard says, one after the other, the last for ever. `post`: what POST says.
  local function serve(answers, post)
    asked = {}
    local gets = 0
    server = http.serve(function(request)
      asked[#asked + 1] = request.method .. " " .. request.path .. " " .. (request.body or "")
      if request.method == "POST" then
        return post[1], nil, post[2]
      end
      gets = gets + 1
      local answer = answers[math.min(gets, #answers)]
      if type(answer) == "function" then
        return answer(request)
      end
      return 200, nil, answer
    end)
  end

  local function environment()
    return { TERM = "xterm", TIDEGATE_CONTROL = "127.0.0.1:" .. server.port }
  end

  local function start(args)
    return process.start({ paths.bin "tidegate", "ctl", "reshard", unpack(args) }, { env = environment() })
  end

  local function reshard(args)
    local p = start(args)
    p:wait(30000)
    return p
  end

  local function on_terminal(args)
    local command = paths.bin "tidegate" .. " ctl reshard " .. table.concat(args, " ")
    return process.run({ "script", "-qec", command, "/dev/null" }, { env = environment() })
  end

  after_each(function()
    process.cleanup()
    if server then server:close() end
    server = nil
  end)

  it("begins one, and writes a line for each step until it is over", function()
    serve({ STEPS[1], STEPS[2], STEPS[3], STEPS[4], STEPS[5], STEPS[6], over "done" }, BEGUN)
    local p = reshard { "8" }
    assert.equal(0, p.exit_code, p.stderr)
    assert.equal('POST /reshard {"totalShards":8}', asked[1])
    assert.equal([[
from 4 to 8 shards, with about 8 session starts
identifying, 3 of 8 shards up
matching, 1 of 4 classes ready
switching, 1 of 4 classes over; waits for guild 41771983423143937, which is unavailable on its new shard
settling, 3 of 4 classes settled
closing, 3 of 4 classes without old shards
done: from 4 to 8 shards, 3 min 2 s, 8 session starts
]], p.stdout)
  end)

  it("draws a bar with an estimate on a terminal, no wider than that", function()
    serve({ STEPS[1], STEPS[5], STEPS[4], over "done" }, BEGUN)
    local p = on_terminal { "8" }
    assert.equal(0, p.exit_code, p.stdout)
    -- A quarter of the time has passed.
    assert.matches("\r\27[K[#######.......................] identifying, 3 of 8 shards up, about 30 s left",
      p.stdout, 1, true)
    -- Without an estimate by the steps: 8 up and 4 over, of 8 and 8.
    assert.matches("[######################........] settling, 3 of 4 classes settled\r\27[K",
      p.stdout, 1, true)
    for line in p.stdout:gmatch "\27%[K([^\r\n]*)" do
      assert.is_true(#line < 80, line)
    end
    assert.matches("\r\27%[Kdone: from 4 to 8 shards[^\n]*\n$", p.stdout)
  end)

  it("leaves it running when it is interrupted, and says so", function()
    serve({ STEPS[1] }, BEGUN)
    local p = start { "8" }
    p:wait_for_output("3 of 8 shards up", "stdout", 10000)
    p:kill "sigint"
    p:wait(10000)
    assert.equal("SIGINT", p.signal)
    assert.matches("tidegate ctl: the resharding goes on: `tidegate ctl reshard` shows how far it is, "
      .. "`tidegate ctl reshard abort` takes it back\n$", p.stderr)
    for _, what in ipairs(asked) do
      assert.is_nil(what:find("abort", 1, true))
    end
  end)

  it("fails when it ends otherwise", function()
    for _, result in ipairs { "aborted", "failed" } do
      serve({ STEPS[1], over(result, "Discord refuses 8 shards (4010)") }, BEGUN)
      local p = reshard { "8" }
      assert.equal(1, p.exit_code)
      assert.equal(("tidegate ctl: %s: from 4 to 8 shards, 3 min 2 s, 8 session starts; "
        .. "Discord refuses 8 shards (4010)\n"):format(result), p.stderr)
      server:close()
    end
  end)

  it("is refused in the gateway's own words", function()
    serve({ NOTHING }, { 409, { error = "one runs already, from 4 to 8 shards", code = "refused" } })
    local p = reshard { "16" }
    assert.same({ 1, "", "tidegate ctl: one runs already, from 4 to 8 shards\n" },
      { p.exit_code, p.stdout, p.stderr })
    assert.equal(1, #asked)
  end)

  it("abort takes it back, and waits until it is", function()
    serve({ running { phase = "aborting", byState = { overlap = 3, switched = 1 } }, over "aborted" },
      { 202, { aborting = true } })
    local p = reshard { "abort" }
    assert.equal(0, p.exit_code, p.stderr)
    assert.equal('POST /reshard {"abort":true}', asked[1])
    assert.equal("the resharding is taken back\naborting, 1 of 4 classes still over\n"
      .. "aborted: from 4 to 8 shards, 3 min 2 s, 8 session starts\n", p.stdout)
  end)

  it("does not wait with --json, unless it is told to", function()
    serve({ STEPS[1], over "done" }, BEGUN)
    local p = reshard { "8", "--json" }
    assert.same({ 0, 1 }, { p.exit_code, #asked })
    assert.same(BEGUN[2], cjson.decode(p.stdout))
    server:close()
    serve({ STEPS[1], over "done" }, BEGUN)
    p = reshard { "status", "--json", "--wait" }
    assert.same({ 0, 2 }, { p.exit_code, #asked })
    assert.same(over "done", cjson.decode(p.stdout))
  end)

  it("gives up at its time-out, and says that it goes on", function()
    serve({ STEPS[1] }, BEGUN)
    local p = reshard { "8", "--timeout", "600" }
    assert.same({ 1, "tidegate ctl: the resharding is not over after 600 ms; it goes on\n" },
      { p.exit_code, p.stderr })
  end)

  it("bears with a gateway that is started again meanwhile", function()
    local function reset(request) request:reset() end
    serve({ STEPS[1], reset, reset, STEPS[3], over "done" }, BEGUN)
    local p = reshard { "8" }
    assert.equal(0, p.exit_code, p.stderr)
    server:close()
    serve({ STEPS[1], NOTHING }, BEGUN)
    p = reshard { "8" }
    assert.equal(1, p.exit_code)
    assert.matches("how it ended is not known", p.stderr)
  end)

  it("status shows all that there is to say", function()
    local answer = running {
      up = 8, phase = "switching", byState = { switched = 2 }, waitsFor = "class 3: guilds that load",
      held = { events = 1200, bytes = 3456 },
      unmatched = { PRESENCE_UPDATE = 3 }, cut = { "PRESENCE_UPDATE" },
    }
    answer.planned = { to = 16, waitsFor = "identifies: 10 are left, 17 are needed" }
    answer.last = over("failed", "REST is away").last
    serve { answer }
    local p = reshard { "status", "--table" }
    assert.equal(0, p.exit_code, p.stderr)
    assert.equal([[
Resharding  from 4 to 8 shards, for 10 s, about 30 s left
Step        switching, 2 of 4 classes over
Classes     switched 2
Waits for   class 3: guilds that load
Held        1,200 events (3.4 KiB)
Unmatched   PRESENCE_UPDATE 3
By time     PRESENCE_UPDATE
Planned     16 shards; waits for identifies: 10 are left, 17 are needed
Last        failed: from 4 to 8 shards, 3 min 2 s, 8 session starts; REST is away
]], p.stdout)
    assert.same(answer, cjson.decode(reshard({}).stdout))
  end)

  it("status shows that there is none", function()
    serve { NOTHING }
    assert.equal("Resharding  none runs\n", reshard({ "--table" }).stdout)
    assert.equal(0, reshard({ "status", "--wait" }).exit_code)
  end)

  it("lets nobody write on the terminal", function()
    local evil = "\27]0;owned\7\194\155"
    local answer = running {
      phase = evil, byState = { [evil] = 1 }, waitsFor = evil, unmatched = { [evil] = 1 }, cut = { evil },
    }
    answer.planned, answer.last = { to = 16, waitsFor = evil }, over(evil, evil).last
    serve({ answer, answer, over(evil, evil) }, BEGUN)
    for _, args in ipairs { { "--table" }, { "8" }, { "--json" } } do
      local p = on_terminal(args)
      local shown = p.stdout:gsub("\r\27%[K", "")
      assert.is_nil(shown:find("\27]", 1, true), p.stdout)
      assert.is_nil(shown:find("\7", 1, true))
      assert.is_nil(shown:find("\194\155", 1, true))
    end
  end)

  it("is part of the status", function()
    serve { { resharding = STEPS[4].running } }
    local p = process.run({ paths.bin "tidegate", "ctl", "status", "--table" }, { env = environment() })
    assert.matches("Resharding  from 4 to 8 shards: switching, 1 of 4 classes over\n", p.stdout, 1, true)
  end)

  it("counts what all hosts of a cluster have come to", function()
    local everywhere = { up = 4, switched = 3, settled = 1, closed = 0 }
    local STEP_OF = {
      identifying = "4 of 4 classes with their new shards up", matching = "1 of 2 classes of this host ready",
      switching = "3 of 4 classes over", settling = "1 of 4 classes settled",
      closing = "0 of 4 classes without old shards",
    }
    for phase, text in pairs(STEP_OF) do
      serve { running { phase = phase, byState = { overlap = 1, ready = 1 }, everywhere = everywhere } }
      local p = reshard { "--table" }
      assert.matches(("Step        %s, %s\n"):format(phase, text), p.stdout, 1, true)
      assert.matches("All hosts   %l+ %d", p.stdout)
      server:close()
    end
    serve { NOTHING }
  end)

  it("does not know other words", function()
    serve { NOTHING }
    for _, word in ipairs { "0", "64x", "-8", "stop" } do
      local p = reshard { word == "-8" and "--" or word, word == "-8" and word or nil }
      assert.equal(64, p.exit_code, word)
      assert.matches("expected the new number of shards, status or abort", p.stderr, 1, true)
    end
    assert.equal(0, #asked)
  end)
end)
