-- The examples of a cluster (examples/deploy/cluster): what they say the gateway, systemd, Redis and
-- Kubernetes understand, and it is what they need.

local cjson = require "cjson"
local npm = require "spec.support.npm"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local redis = require "spec.support.redis"
local scene = require "spec.support.scene"
local uv = require "luv"
local yaml = require "spec.support.yaml"

local FOLDER = paths.root .. "/examples/deploy/cluster/"

local function read(name)
  return (assert(paths.read(FOLDER .. name), name))
end

after_each(function()
  process.cleanup()
  redis.teardown()
end)

-- ---- the gateway ----

-- The assignments of an environment file; with `commented` also those that stand behind a #.
local function env_file(text, commented)
  local env = {}
  for line in text:gmatch "[^\n]+" do
    local name, value = line:match "^([A-Z_]+)=(.*)$"
    if not name and commented then
      name, value = line:match "^#([A-Z_]+)=(.*)$"
    end
    if name then
      env[name] = value
    end
  end
  return env
end

local manifests

-- The objects of the manifest by their kinds.
local function objects()
  if not manifests then
    manifests = {}
    for _, object in ipairs(yaml.read(read "kubernetes.yaml")) do
      assert.is_nil(manifests[object.kind])
      manifests[object.kind] = object
    end
  end
  return manifests
end

local function pod() return objects().StatefulSet.spec.template.spec end
local function container() return pod().containers[1] end

-- What the container of a pod has in its environment.
local function pod_env(name)
  local sources = { configMapRef = objects().ConfigMap, secretRef = objects().Secret }
  local env = {}
  for _, source in ipairs(container().envFrom) do
    local kind, ref = next(source)
    local object = sources[kind]
    assert.equal(object.metadata.name, ref.name)
    for variable, value in pairs(object.data or object.stringData) do
      assert.equal("string", type(value), variable .. ": quotes are missing")
      env[variable] = value
    end
  end
  for _, item in ipairs(container().env) do
    assert.same({ fieldRef = { fieldPath = "metadata.name" } }, item.valueFrom)
    env[item.name] = name
  end
  return env
end

-- What `tidegate check` says of a gateway with this environment, which it must have nothing against.
local function check(env, script)
  local argv = { paths.bin "tidegate", "check", "--json", script }
  local run = process.run(argv, { env = env })
  assert.equal(0, run.exit_code, run.stderr)
  assert.equal("", run.stderr) -- warnings: names that mean nothing, secrets that are shown to others
  return cjson.decode(run.stdout)
end

local function assert_host(env, name)
  local config = check(env).configuration
  assert.equal("rediss://redis.example:6379/0", config.cluster.url) -- without its password
  assert.same({ "bot", name }, { config.cluster.name, config.cluster.host })
  assert.same({ env.EVENT_HANDLER_URL }, config.event_handler.urls)
  return config
end

describe("a host of the examples", function()
  it("has the three lines of the page", function()
    local folder = paths.tmp()
    local script = paths.write(folder .. "/gateway.lua", 'local gateway = require "tidegate"\n'
      .. read "README.md":match "\n```lua\n(.-)```\n")
    local config = check({ DISCORD_TOKEN = "a.b.c", INTENTS = "1", EVENT_HANDLER_URL = "http://127.0.0.1:1" },
      script).configuration
    assert.same({ url = "rediss://redis.example:6379/0", name = "bot", host = "gw-1" }, config.cluster)
  end)

  it("with systemd is configured as the gateway takes it, by all lines of its file", function()
    local text = read "host.env"
    assert_host(env_file(text), uv.os_gethostname())
    assert_host(env_file(text, true), "gw-1")
  end)

  it("has the lines of the service's own file, too", function()
    local own = env_file(paths.read(paths.root .. "/examples/deploy/tidegate.env"), true)
    for name in pairs(env_file(read "host.env", true)) do
      assert.is_true(own[name] ~= nil or name == "INTENTS", name) -- which a script configures there
    end
  end)

  it("in Kubernetes is configured as the gateway takes it, by the name of its pod", function()
    local config = assert_host(pod_env "tidegate-2", "tidegate-2")
    assert.equal(tonumber(pod_env "".TOTAL_WORKERS), config.total_workers)
  end)
end)

-- The longest that a host of a cluster takes to stop, in ms.
local function stop_time()
  local source = paths.read(paths.root .. "/src/manager/stop.c")
  return tonumber(source:match " LEAVE_TIME = (%d+),") + tonumber(source:match " KILL_TIME = (%d+),")
end

-- ---- systemd ----

describe("the drop-in", function()
  local text = read "cluster.conf"

  it("is one that systemd understands, with the unit", function()
    if not uv.fs_stat "/usr/bin/systemd-analyze" then
      return pending "no systemd-analyze here"
    end
    local folder = paths.tmp()
    local unit = paths.read(paths.root .. "/examples/deploy/tidegate.service")
    paths.write(folder .. "/tidegate.service", (unit:gsub("/usr/bin/tidegate", paths.bin "tidegate")))
    assert(uv.fs_mkdir(folder .. "/tidegate.service.d", 448))
    paths.write(folder .. "/tidegate.service.d/cluster.conf", text)
    local verify = process.run({ "systemd-analyze", "--man=no", "verify", folder .. "/tidegate.service" },
      { env = { SYSTEMD_UNIT_PATH = folder .. ":" } })
    assert.equal("", verify.stderr)
    assert.equal(0, verify.exit_code)
  end)

  it("may leave the URL to the file that the pages name", function()
    local unit = paths.read(paths.root .. "/examples/deploy/tidegate.service")
    local name, file = unit:match "\nLoadCredential=(tidegate_cluster):([%w_.]+)\n"
    assert.matches("/etc/credstore[^\n]*" .. file, read "host.env")
    local folder = paths.tmp()
    local env = env_file(read "host.env")
    paths.write(folder .. "/" .. name, env.TIDEGATE_CLUSTER .. "\n")
    env.TIDEGATE_CLUSTER, env.CREDENTIALS_DIRECTORY = nil, folder
    assert_host(env, uv.os_gethostname())
  end)

  it("leaves the time to give the shards away, and to end", function()
    assert.is_true(tonumber(text:match "\nTimeoutStopSec=(%d+)\n") * 1000 > stop_time() + 10000)
  end)
end)

-- ---- Redis ----

-- The example's Redis on this machine: where it listens, its certificates and its directory are others.
local function start_redis()
  local server = redis.start()
  local own = paths.read(server.config)
  local kept = {}
  for line in read "redis.conf":gmatch "[^\n]+" do
    local word = line:match "^[%w-]+"
    if word and not word:find "^tls" and word ~= "bind" and word ~= "port" and word ~= "dir" then
      kept[#kept + 1] = line
    end
  end
  for line in own:gmatch "[^\n]+" do
    local word = line:match "^%S+"
    if not word:find "^append" and not word:find "^master" then
      kept[#kept + 1] = line
    end
  end
  server:stop()
  paths.write(server.config, table.concat(kept, "\n") .. "\n")
  server:restart()
  return server
end

describe("the example's redis.conf", function()
  it("is one that Redis takes: nothing is forgotten or evicted, and nobody comes in unknown", function()
    local server = start_redis()
    assert.equal("noeviction", server:info("memory").maxmemory_policy)
    assert.equal("1", server:info("persistence").aof_enabled)
    assert.equal("1", server:fields("CONFIG", "GET", "min-replicas-to-write")["min-replicas-to-write"])
    local flags = table.concat(server:fields("ACL", "GETUSER", "default").flags, " ")
    assert.matches("off", flags)
    assert.is_nil(flags:find "nopass") -- else Redis answers to nobody from outside (protected-mode)
  end)

  it("has the keys that Redis knows, those of TLS included", function()
    local server = redis.start()
    for line in read "redis.conf":gmatch "[^\n]+" do
      local key = line:match "^[%l-]+"
      if key and key ~= "user" then
        assert.is_not_nil(server:fields("CONFIG", "GET", key)[key], key)
      end
    end
  end)

  it("has a user for replicas that may be one", function()
    local master = start_redis()
    local replica = redis.start { config = { masteruser = "replica", masterauth = "change-this-too" } }
    replica:replica_of(master)
    master:command("SET", "a", "1") -- refused without a replica
    assert.equal("replica", replica:fields("CONFIG", "GET", "masteruser").masteruser)
    replica:wait_replicated(master)
    assert.equal("1", replica:command("GET", "a"))
  end)
end)

-- ---- Kubernetes ----

describe("the example's manifest", function()
  it("has what a cluster needs, and each part finds the others", function()
    local all, labels = objects(), { ["app.kubernetes.io/name"] = "tidegate" }
    local set = all.StatefulSet.spec
    assert.equal(3, set.replicas)
    assert.equal(all.Service.metadata.name, set.serviceName)
    assert.equal("None", all.Service.spec.clusterIP)
    assert.same(labels, set.template.metadata.labels)
    assert.same(labels, all.Service.spec.selector)
    assert.same({ matchLabels = labels }, set.selector)
    assert.same({ matchLabels = labels }, all.PodDisruptionBudget.spec.selector)
    assert.equal(1, all.PodDisruptionBudget.spec.maxUnavailable)
  end)

  it("keeps the state directory on a volume of the pod's own", function()
    local volume = objects().StatefulSet.spec.volumeClaimTemplates[1]
    local mount = container().volumeMounts[1]
    assert.equal(volume.metadata.name, mount.name)
    assert.equal(mount.mountPath .. "/state", pod_env "".TIDEGATE_STATE_DIR)
    local dockerfile = paths.read(paths.root .. "/examples/deploy/Dockerfile")
    local user = tonumber(dockerfile:match "%-%-uid (%d+)")
    local security = pod().securityContext
    assert.same({ user, user, user }, { security.runAsUser, security.runAsGroup, security.fsGroup })
    assert.same({ "run" }, container().args)
    assert.matches('\nENTRYPOINT ["tidegate"]\n', dockerfile, 1, true)
  end)

  it("asks where the gateway answers, without its secret", function()
    local port = tonumber(pod_env "".TIDEGATE_CONTROL:match "^0%.0%.0%.0:(%d+)$")
    assert.same({ { name = "control", containerPort = port } }, container().ports)
    assert.equal(port, objects().Service.spec.ports[1].port)
    assert.equal("control", objects().Service.spec.ports[1].targetPort)
    local routes = paths.read(paths.root .. "/src/control/routes.c")
    for probe, path in pairs { readinessProbe = "/readyz", livenessProbe = "/healthz" } do
      assert.same({ path = path, port = "control" }, container()[probe].httpGet)
      assert.matches('{"GET", "' .. path .. '"[^}]*%.open = true}', routes)
    end
  end)

  it("gives the shards away before a pod ends, and leaves the time for both", function()
    local hook = container().lifecycle.preStop.exec.command
    local words, timeout = { paths.bin "tidegate", unpack(hook, 2) }, nil
    for i, word in ipairs(words) do
      timeout = timeout or word == "--timeout" and tonumber(words[i + 1])
    end
    local env = pod_env "tidegate-0"
    env.TIDEGATE_CONTROL = "127.0.0.1:1"
    local run = process.run(words, { env = env })
    assert.equal(69, run.exit_code, run.stderr) -- not 64: the words are right, but nobody is there
    assert.is_true(pod().terminationGracePeriodSeconds * 1000 > timeout + stop_time() + 10000)
  end)

  -- Whether a key exists tsc says, by the types of the objects; whether the values are right, their schemas.
  it("is by Kubernetes' own schemas", function()
    local modules, why = npm.install { "kubernetes-models", "js-yaml", "typescript" }
    if not modules then
      return pending(why)
    end
    local output = npm.run(modules, [[
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import * as yaml from "js-yaml";

const documents = yaml.loadAll(readFileSync("kubernetes.yaml", "utf8"));
const lines = [];
for (const [i, document] of documents.entries()) {
  const path = "kubernetes-models/" + document.apiVersion;
  const { [document.kind]: Model } = await import(path);
  new Model(document).validate();
  lines.push(`import type { I${document.kind} as Type${i} } from "${path}";`);
  lines.push(`export const object${i}: Type${i} = ${JSON.stringify(document)};`);
}
writeFileSync("objects.mts", lines.join("\n"));
execFileSync("../node_modules/.bin/tsc", ["--noEmit", "--strict", "--skipLibCheck", "--target", "es2022",
  "--module", "nodenext", "--moduleResolution", "nodenext", "objects.mts"], { stdio: ["ignore", 2, 2] });
console.log(JSON.stringify(documents));
]], { ["kubernetes.yaml"] = read "kubernetes.yaml" })
    assert.same(yaml.read(read "kubernetes.yaml"), cjson.decode(output)) -- and we have read what others read
  end)
end)

-- ---- all of it ----

describe("three pods of the example", function()
  after_each(scene.stop)

  local PODS, SHARDS = 3, 6

  -- What is of this machine in the place of what is the reader's own.
  local function env_on(server, name)
    local env = pod_env(name)
    for _, variable in ipairs {
      "DISCORD_TOKEN", "INTENTS", "EVENT_HANDLER_URL", "EVENT_HANDLER_SECRET_KEY", "TIDEGATE_STATE_DIR",
    } do
      assert.is_not_nil(env[variable], variable)
      env[variable] = nil
    end
    local user, password = env.TIDEGATE_CLUSTER:match "//(.-):(.-)@"
    env.TIDEGATE_CLUSTER = server:url { user = user, password = password }
    env.TIDEGATE_CONTROL, env.LOG_LEVEL = "127.0.0.1:0", "debug"
    return env
  end

  local function start_pods(server)
    local s, pods
    for i = 1, PODS do
      local name = "tidegate-" .. i - 1
      local options = {
        ready = false, reload = false, env = env_on(server, name), state_dir = paths.tmp() .. "/state",
        shards = SHARDS, fake = { max_concurrency = SHARDS },
      }
      if not s then
        s = scene.start(options)
        pods = { s.gateway }
      else
        pods[i] = s:run(options)
      end
      pods[i].env = options.env
    end
    return s, pods
  end

  local function probe(pod_of, name)
    return pod_of:control("GET", container()[name .. "Probe"].httpGet.path, { secret = false }).status
  end

  local function shards_of(pod_of)
    return pod_of:control("GET", "/status"):json().cluster.shards.held
  end

  it("share the shards as the user of the example's Redis, and one that ends gives its own away", function()
    local server = start_redis()
    local replica = redis.start { config = { masteruser = "replica", masterauth = "change-this-too" } }
    replica:replica_of(server)
    local s, pods = start_pods(server)
    s:wait_counter("identifies_ok", SHARDS, 40000)
    for _, each in ipairs(pods) do
      redis.wait_for("a pod to be ready", function() return probe(each, "readiness") == 200 end)
      assert.equal(200, probe(each, "liveness"))
      assert.equal(SHARDS / PODS, shards_of(each))
    end

    local words = { paths.bin "tidegate", unpack(container().lifecycle.preStop.exec.command, 2) }
    local env = pods[1].env
    env.TIDEGATE_CONTROL = pods[1]:control_url():match "^http://(.*)$"
    local drain = process.run(words, { env = env, timeout = 60000 })
    assert.equal(0, drain.exit_code, drain.stderr)
    assert.equal(0, shards_of(pods[1]))
    assert.same({ 3, 3 }, { shards_of(pods[2]), shards_of(pods[3]) })
    s:wait_counter("resumes_ok", SHARDS / PODS)
    assert.equal(0, (pods[1]:stop()))

    assert.equal(SHARDS, s:counters().identifies)
    assert.same({}, s:list "violations")
    assert.same({}, server:command("ACL", "LOG")) -- the gateways have tried nothing that they may not do
  end)
end)
