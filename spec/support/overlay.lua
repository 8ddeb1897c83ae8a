-- The system as a copy that may be changed: an overlay over /, in a mount name space of its own. What is
-- installed, changed and removed in it does not touch the machine, and is gone with it. Needs root.
--
--   local root, why = overlay.open()          nil when the system does not let us
--   root:run { "dpkg", "-i", "/tmp/x.deb" }   a process that has ended
--   root:start(argv, options)                 one that runs; options.user
--   root:path "/etc/passwd"                   where that file is, seen from outside

local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local process = require "spec.support.process"

local overlay = {}

local Overlay = {}
Overlay.__index = Overlay

-- $1 is the directory for it all. Something has to hold the name space.
local MOUNT = [[
set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" overlay "$1/root"
mount --rbind /dev "$1/root/dev"
mount --rbind /proc "$1/root/proc"
mkdir -p "$1/root$2"
mount --bind "$2" "$1/root$2"
echo mounted
exec tail -f /dev/null
]]

-- Its directory `shared` is inside what it is outside.
function overlay.open(shared)
  local self = setmetatable({ dir = paths.tmp(), shared = shared }, Overlay)
  self.holder = process.start { "unshare", "--mount", "sh", "-c", MOUNT, "sh", self.dir, shared }
  loop.wait_for("the mounts", function()
    return self.holder.stdout:find "mounted\n" or self.holder.ended
  end)
  if self.holder.ended then
    return nil, self.holder.stderr
  end
  return self
end

function Overlay:path(path)
  return ("/proc/%d/root%s/root%s"):format(self.holder.pid, self.dir, path)
end

local function words(self, argv, options)
  local all = { "nsenter", "--target", self.holder.pid, "--mount", "chroot", self.dir .. "/root" }
  if options.user then
    for _, word in ipairs {
      "setpriv", "--pdeathsig", "KILL", "--reuid", options.user, "--regid", options.user, "--clear-groups",
      "--no-new-privs", "--bounding-set=-all", "--",
    } do
      all[#all + 1] = word
    end
  end
  for _, word in ipairs(argv) do
    all[#all + 1] = word
  end
  return all
end

function Overlay:start(argv, options)
  options = options or {}
  options.cwd = "/"
  return process.start(words(self, argv, options), options)
end

function Overlay:run(argv, options)
  local started = self:start(argv, options)
  started:wait(options and options.timeout or 30000, 2)
  return started
end

return overlay
