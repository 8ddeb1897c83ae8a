-- What the gateway is started with, and what is done to it from outside: standard descriptors that are
-- closed, outputs that nobody reads, signals. A report from the field is a row.

local http = require "spec.support.http"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local scene = require "spec.support.scene"
local uv = require "luv"

-- A scene whose gateway needs no log to be talked to.
local function start(options)
  options.env = options.env or {}
  options.ready = false
  local socket = paths.tmp() .. "/control.sock"
  options.env.TIDEGATE_CONTROL = "unix:" .. socket
  local s = scene.start(options)
  s.gateway.control_at = "http+unix://" .. socket .. ":"
  local deadline, answer = loop.now() + 20000 * paths.slow, nil
  while not answer or answer.status ~= 200 do
    assert(loop.now() < deadline and not s.gateway.process.ended, "the gateway does not become ready")
    answer = uv.fs_stat(socket) and s.gateway:control("GET", "/readyz")
    local next_look = loop.now() + 20
    loop.wait_for("the next look", function() return loop.now() >= next_look end)
  end
  return s
end

local function shell(redirection)
  return { "sh", "-c", 'exec "$@" ' .. redirection, "sh" }
end

describe("standard descriptors that are closed:", function()
  after_each(scene.stop)

  local COMBINATIONS = { "<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-" }

  for _, closed in ipairs(COMBINATIONS) do
    it("with " .. closed .. " the gateway starts, delivers, and stops with 0", function()
      local s = start { wrap = shell(closed), shards = 2, workers = 2, per_worker = 1 }
      s.fake:emit { count = 3 }
      s:wait_delivered()
      assert.equal(200, s.gateway:control("GET", "/healthz").status)
      assert.equal(2, #s.gateway:worker_pids())
      for _, pid in ipairs { s.gateway.pid, unpack(s.gateway:worker_pids()) } do
        for way in closed:gmatch "%S+" do
          local fd = way == "<&-" and 0 or way == ">&-" and 1 or 2
          assert.equal("/dev/null", (uv.fs_readlink(("/proc/%d/fd/%d"):format(pid, fd))))
        end
      end
      assert.equal(0, (s.gateway:stop()))
    end)
  end

  -- Command, and its exit code.
  local PROGRAMS = {
    { "tidegate version", 0 }, { "tidegate help", 0 }, { "tidegate nope", 64 }, { "tidegate check", 0 },
    { "tidegate check --json", 0 }, { "tidegate ctl status", 69 }, { "tidegate ctl payload 0 -", 64 },
    { "tidegate run", 69 }, { "tidegate-fake-discord --help", 0 }, { "tidegate-fake-discord --nope", 64 },
  }

  for _, row in ipairs(PROGRAMS) do
    it(("%s ends with %d"):format(row[1], row[2]), function()
      local env = {
        DISCORD_TOKEN = "abc.def.ghi", INTENTS = "guilds", REST_URL = "http://127.0.0.1:9/api/v10",
        TIDEGATE_STATE_DIR = paths.tmp() .. "/state", TIDEGATE_HURRY = 50,
        TIDEGATE_CONTROL = "unix:" .. paths.tmp() .. "/control.sock",
      }
      for _, closed in ipairs(COMBINATIONS) do
        local p = process.run({ "sh", "-c", ("exec %s/%s %s"):format(paths.build, row[1], closed) },
          { env = env, timeout = 20000 })
        assert.equal(row[2], p.exit_code or p.signal, closed .. "\n" .. p.stderr)
      end
    end)
  end

  it("the fake Discord serves, and ends with 0", function()
    local command = ('exec "%s" <&- 2>&-'):format(paths.bin "tidegate-fake-discord")
    local fake = process.start { "sh", "-c", command }
    local admin = fake:wait_for_output('"admin":"([^"]+)"', "stdout")
    assert.equal(200, http.request("GET", admin .. "/state").status)
    fake:kill "SIGTERM"
    assert.equal(0, (fake:wait()))
  end)
end)

describe("signals that mean nothing", function()
  after_each(scene.stop)

  local function send_to_all(g, signal)
    for _, pid in ipairs { g.pid, unpack(g:worker_pids()) } do
      uv.kill(pid, signal)
    end
  end

  for _, signal in ipairs { "sigusr1", "sigusr2", "sigpipe", "sigxfsz", "sigurg" } do
    it(signal .. " changes nothing, whenever it comes", function()
      local s = scene.start { ready = false, env = { TIDEGATE_HURRY = 10 } }
      local g, sent = s.gateway, 0
      g:wait_for_log "manager: "
      local timer = uv.new_timer()
      timer:start(0, 20, loop.callback(function()
        sent = sent + 1
        uv.kill(g.pid, signal)
      end))
      g:wait_ready(1)
      timer:close()
      send_to_all(g, signal)
      s.fake:emit { count = 3 }
      s:wait_delivered()
      send_to_all(g, signal)
      assert.equal(200, g:control("GET", "/readyz").status)
      assert.equal(0, (g:stop()))
      assert.equal(0, g:count_log "a worker has ended")
      assert.is_true(sent > 0)
    end)
  end
end)
