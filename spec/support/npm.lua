-- Packages of npm, the newest there are: what others have written shows that we say what they understand.
--
--   local modules, why = npm.install { "cloudevents" }
--   if not modules then
--     return pending(why)
--   end
--   local output = npm.run(modules, [[import { HTTP } from "cloudevents"; ...]], { file = "text" })
--
--   local modules, why = npm.install_for "examples/bots/x/package.json"
--   process.start({ "node", "main.js" }, { cwd = npm.copy(modules, "examples/bots/x") })
--
-- Installed once a process, or once a run where TG_SPEC_NPM names a folder for it. Without node, npm or its
-- registry there are none, and `why` says so in words.

local cjson = require "cjson"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local uv = require "luv"

local npm = {}

local TIMEOUT = 90000
local installed = {}

-- npm goes through the proxies and to the registry that its user has set.
local function environment()
  local env = { HOME = os.getenv "HOME", NO_UPDATE_NOTIFIER = "1" }
  for name, value in pairs(uv.os_environ()) do
    local lower = name:lower()
    if lower:find "^npm_config_" or lower:find "_proxy$" or lower:find "^node_" then
      env[name] = value
    end
  end
  return env
end

local function is_there(program)
  for folder in (os.getenv "PATH" or ""):gmatch "[^:]+" do
    if uv.fs_access(folder .. "/" .. program, "X") then
      return true
    end
  end
  return false
end

local function folder_of(packages)
  local root = os.getenv "TG_SPEC_NPM"
  local name = table.concat(packages, "+"):gsub("[^%w+.-]", "_")
  return (root and root ~= "" and root or paths.tmp()) .. "/" .. name
end

-- What two processes install at the same time is the first one's.
local function install(packages)
  local folder = folder_of(packages)
  if uv.fs_stat(folder .. "/node_modules") then
    return folder .. "/node_modules"
  end
  local fresh = paths.tmp()
  paths.write(fresh .. "/package.json", '{"private":true}')
  local argv = {
    "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=1",
    "--fetch-timeout=20000", "--loglevel=error",
  }
  for _, package in ipairs(packages) do
    argv[#argv + 1] = package
  end
  local npm_process = process.start(argv, { env = environment(), cwd = fresh })
  local deadline = loop.now() + TIMEOUT
  loop.wait_for("npm", function()
    return npm_process.ended or loop.now() > deadline
  end, TIMEOUT + 10000)
  if not npm_process.ended then
    npm_process:kill "SIGKILL"
    return nil, "npm does not come to an end here"
  elseif npm_process.exit_code ~= 0 then
    local said = npm_process.stderr:match "npm [^\n]*"
    return nil, "npm cannot install here: " .. (said or "it does not say why")
  end
  uv.fs_mkdir(folder, 448)
  if uv.fs_rename(fresh .. "/node_modules", folder .. "/node_modules") then
    return folder .. "/node_modules"
  end
  return fresh .. "/node_modules" -- another file system
end

-- The path of node_modules with these packages, and what they need; nil and why not.
function npm.install(packages)
  local name = table.concat(packages, " ")
  if not installed[name] then
    if not is_there "node" or not is_there "npm" then
      installed[name] = { nil, "there is no node and npm here" }
    else
      installed[name] = { install(packages) }
    end
  end
  return installed[name][1], installed[name][2]
end

-- What a package.json names, the newest of each, whatever version it asks for.
function npm.install_for(package_json)
  local packages = {}
  for name in pairs(cjson.decode((assert(paths.read(package_json)))).dependencies) do
    packages[#packages + 1] = name
  end
  table.sort(packages)
  return npm.install(packages)
end

-- A copy of a folder's files beside node_modules; its path.
function npm.copy(modules, folder)
  local copy = modules:gsub("/node_modules$", "") .. "/copy-" .. tostring(uv.hrtime())
  assert(uv.fs_mkdir(copy, 448))
  local scan = assert(uv.fs_scandir(folder))
  for name, kind in uv.fs_scandir_next, scan do
    if kind == "file" then
      paths.write(copy .. "/" .. name, assert(paths.read(folder .. "/" .. name)))
    end
  end
  return copy
end

-- A script beside node_modules, as a module; `files` (name = text) stand beside it, too.
function npm.script(modules, text, files)
  local folder = modules:gsub("/node_modules$", "") .. "/spec-" .. tostring(uv.hrtime())
  assert(uv.fs_mkdir(folder, 448))
  for name, content in pairs(files or {}) do
    paths.write(folder .. "/" .. name, content)
  end
  return paths.write(folder .. "/script.mjs", text)
end

-- Starts it; a process (spec/support/process.lua).
function npm.start(modules, text, files, options)
  local script = npm.script(modules, text, files)
  options = options or {}
  options.cwd = script:gsub("/script.mjs$", "")
  return process.start({ "node", script }, options)
end

-- Runs it to its end, and returns what it has written.
function npm.run(modules, text, files)
  local node = npm.start(modules, text, files)
  node:wait(60000)
  if node.exit_code ~= 0 then
    error("node has failed: " .. node.stderr:sub(-2000), 2)
  end
  return node.stdout
end

return npm
