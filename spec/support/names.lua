-- Names that lead where a spec wants: words in front of a command line, by which the process sees an
-- /etc/hosts of its own, in a mount name space of its own.
--
--   local wrap, why = names.wrap { ["gateway.discord.test"] = { "127.0.0.1", "127.0.0.2" } }
--   if not wrap then pending(why) return end           the system may not let us
--   gateway.start { wrap = wrap, ... }
--
-- The fake Discord's certificate is good for *.discord.test.

local paths = require "spec.support.paths"
local process = require "spec.support.process"

local names = {}

local WAYS = { { "unshare", "--mount" }, { "unshare", "--map-root-user", "--mount" } }
local MOUNT = 'mount --bind "$0" /etc/hosts && exec "$@"'

local way, problem

local function find_way(hosts)
  for _, words in ipairs(WAYS) do
    local argv = { unpack(words) }
    for _, word in ipairs { "sh", "-c", MOUNT, hosts, "true" } do
      argv[#argv + 1] = word
    end
    local run = process.run(argv)
    if run.exit_code == 0 then
      return words
    end
    problem = run.stderr
  end
end

function names.wrap(addresses)
  local lines = { "127.0.0.1 localhost" }
  for name, list in pairs(addresses) do
    for _, address in ipairs(list) do
      lines[#lines + 1] = address .. " " .. name
    end
  end
  local hosts = paths.write(paths.tmp() .. "/hosts", table.concat(lines, "\n") .. "\n")
  way = way or find_way(hosts)
  if not way then
    return nil, "no mount name spaces here: " .. problem
  end
  local argv = { unpack(way) }
  for _, word in ipairs { "sh", "-c", MOUNT, hosts } do
    argv[#argv + 1] = word
  end
  return argv
end

return names
