-- GET /tap and `ctl tap`: events as they pass, for people who look.

local cjson = require "cjson"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local raw_client = require "spec.support.raw_client"
local scene = require "spec.support.scene"

describe("tapping", function()
  local s

  after_each(function()
    raw_client.cleanup()
    scene.stop()
  end)

  -- Tries until it is so.
  local function until_it(look)
    local late = loop.now() + 20000 * paths.slow
    while not look() do
      assert(loop.now() < late, "it never is so")
    end
  end

  local function tap(query)
    local client = raw_client.connect(s.gateway:control_url())
    client:write("GET /tap" .. (query or "") .. " HTTP/1.1\r\nHost: localhost\r\n\r\n")
    client:wait_for "events as they pass"
    function client.events()
      local list = {}
      for data in client.received:gmatch "data: ({[^\n]*})\n" do
        local event = cjson.decode(data)
        if event.t == "A_PROBE" then
          client.probed[event.shard] = true
        else
          list[#list + 1] = event
        end
      end
      return list
    end
    client.probed = {}
    return client
  end

  -- Until the workers of these shards know of the tap, and so of all before it.
  local function wait_known(client, ...)
    for _, shard in ipairs { ... } do
      until_it(function()
        s.fake:emit { event = "A_PROBE", shard = shard, d = {} }
        client.events()
        return client.probed[shard]
      end)
    end
  end

  local function wait_events(client, n)
    loop.wait_for(function() return n .. " tapped events in " .. client.received end,
      function() return #client.events() >= n end)
    return client.events()
  end

  it("shows what comes, by type, guild and shard, with secrets masked", function()
    s = scene.start { shards = 2, per_worker = 1, workers = 2, fake = { max_concurrency = 2 } }
    local guild = s.fake:guilds(1)[1].id
    local of_guild, of_type, of_shard, all =
      tap("?guild=" .. guild), tap "?types=INTERACTION_CREATE,TYPING_START", tap "?shard=0", tap()
    wait_known(all, 0, 1)
    s.fake:emit { count = 3, guild = guild }
    s.fake:emit { interaction = 2, shard = 0 }
    s.fake:emit { count = 1, shard = 0, size = 5000 }
    s:type("7", 1)
    assert.equal(6, #wait_events(all, 6))
    local messages = wait_events(of_guild, 3)
    assert.same({ "MESSAGE_CREATE", guild, 1, 0 },
      { messages[1].t, messages[1].guild, messages[1].shard, messages[1].skipped })
    assert.is_string(messages[1].event.d.nonce)
    local others = wait_events(of_type, 2)
    table.sort(others, function(a, b) return a.t < b.t end)
    assert.same({ "INTERACTION_CREATE", "TYPING_START" }, { others[1].t, others[2].t })
    assert.equal("***", others[1].event.d.token)
    local at_shard = wait_events(of_shard, 2)
    assert.same({ 0, 0 }, { at_shard[1].shard, at_shard[2].shard })
    local large = at_shard[1].bytes > 4096 and at_shard[1] or at_shard[2]
    assert.equal(cjson.null, large.event)
    assert.equal(3, #of_guild.events())
    s:wait_delivered()
  end)

  it("is bounded, goes on over a worker's death, and ends with whoever looks", function()
    s = scene.start { hurry = 5 }
    local client = tap "?types=MESSAGE_CREATE,A_PROBE"
    wait_known(client, 0)
    s.fake:emit { count = 2000, shard = 0 }
    s:wait_delivered(20000)
    local pid = cjson.decode(s.gateway:control("GET", "/status").body).workers[1].pid
    require("luv").kill(pid, "sigkill")
    until_it(function()
      return cjson.decode(s.gateway:control("GET", "/status").body).workers[1].pid ~= pid
    end)
    local before = #client.events()
    until_it(function()
      s.fake:emit { count = 1, shard = 0 }
      return #client.events() > before
    end)
    local shown, skipped = #client.events(), 0
    for _, event in ipairs(client.events()) do
      skipped = skipped + event.skipped
    end
    assert.is_true(shown < 1500, shown)
    assert.is_true(skipped > 0)
    client:close()
    -- Eight may look.
    local others = {}
    for i = 1, 8 do
      others[i] = tap()
    end
    assert.equal(503, s.gateway:control("GET", "/tap").status)
    assert.equal(400, s.gateway:control("GET", "/tap?types=x").status)
    assert.equal(400, s.gateway:control("GET", "/tap?x=1").status)
    others[1]:close()
    until_it(function()
      local answer = raw_client.connect(s.gateway:control_url())
      answer:write("GET /tap HTTP/1.1\r\nHost: localhost\r\n\r\n")
      return answer:wait_for("HTTP/1.1 "):find "HTTP/1.1 200"
    end)
  end)

  it("is a command, too", function()
    s = scene.start {}
    local at = s.gateway:control_url():gsub("^http%+unix://(.*):$", "unix:%1"):gsub("^http://", "")
    local env = { TIDEGATE_CONTROL = at }
    local args = { paths.bin "tidegate", "ctl", "tap", "MESSAGE_CREATE", "--table" }
    local p = process.start(args, { env = env })
    until_it(function()
      s.fake:emit { count = 1, shard = 0 }
      return p.stdout:find "\n"
    end)
    assert.matches("^%d%d:%d%d:%d%d%.%d%d%d shard 0 s %d+ MESSAGE_CREATE {", p.stdout)
    s.gateway:stop()
    p:wait(10000)
    assert.equal(69, p.exit_code)
    assert.matches("the gateway has ended it", p.stderr)
    p = process.run({ paths.bin "tidegate", "ctl", "tap", "no such" }, { env = env })
    assert.equal(64, p.exit_code)
  end)

  it("ends when who reads it has had enough, and no event comes to show it", function()
    s = scene.start {}
    local at = s.gateway:control_url():gsub("^http%+unix://(.*):$", "unix:%1"):gsub("^http://", "")
    local pipe = ("set -o pipefail; %s ctl tap MESSAGE_CREATE | head -n 1"):format(paths.bin "tidegate")
    local p = process.start({ "bash", "-c", pipe }, { env = { TIDEGATE_CONTROL = at } })
    local function is_shown() return p.stdout:find "\n" end
    until_it(function()
      s.fake:emit { count = 1, shard = 0 }
      return pcall(loop.wait_for, "the one event", is_shown, 500 * paths.slow)
    end)
    p:wait(20000)
    assert.equal(128 + 13, p.exit_code)
    assert.equal("", p.stderr)
  end)
end)
