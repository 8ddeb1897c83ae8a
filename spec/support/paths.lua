-- Where things are: the project, its build, and directories that live as long as the run.

local uv = require "luv"

local paths = {}

local function absolute(path)
  return path:sub(1, 1) == "/" and path or uv.cwd() .. "/" .. path
end

-- The specs are run from the top of the project.
paths.root = uv.cwd()

-- The build whose binaries are under test; TG_BUILD names another one.
paths.build = absolute(os.getenv "TG_BUILD" or "build")

-- How much longer than usual everything may take, for instance under sanitizers.
paths.slow = tonumber(os.getenv "TG_SPEC_SLOW" or "") or 1

function paths.bin(name)
  local path = paths.build .. "/" .. name
  if not uv.fs_stat(path) then
    error(("%s is not there: build it first (scripts/test does), or set TG_BUILD"):format(path), 2)
  end
  return path
end

local temporary = {}

-- A fresh directory, removed at the end of the run. Its path is short enough for a unix socket in it.
function paths.tmp()
  local path = assert(uv.fs_mkdtemp((os.getenv "TMPDIR" or "/tmp") .. "/tidegate-spec-XXXXXX"))
  temporary[#temporary + 1] = path
  return path
end

function paths.write(path, text)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  assert(file:close())
  return path
end

-- The whole file, or nil when there is none.
function paths.read(path)
  local file = io.open(path, "rb")
  if not file then
    return nil
  end
  local text = file:read "*a"
  file:close()
  return text
end

local function remove(path)
  local stat = uv.fs_lstat(path)
  if stat and stat.type == "directory" then
    local scan = uv.fs_scandir(path)
    while scan do
      local name = uv.fs_scandir_next(scan)
      if not name then
        break
      end
      remove(path .. "/" .. name)
    end
    uv.fs_rmdir(path)
  elseif stat then
    uv.fs_unlink(path)
  end
end

function paths.cleanup()
  if os.getenv "TG_SPEC_KEEP" then
    return -- for whoever wants to look at the state directories and logs of a failed spec
  end
  for _, path in ipairs(temporary) do
    remove(path)
  end
  temporary = {}
end

return paths
