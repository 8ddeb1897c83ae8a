-- scripts/install-deps on releases of Debian that give packages different names: dpkg, apt and sudo are
-- stand-ins, and nothing is installed. What scripts/release asks for before it makes a system.

local paths = require "spec.support.paths"
local process = require "spec.support.process"
local uv = require "luv"

after_each(process.cleanup)

-- Where $INSTALLED and $KNOWN are the packages of a machine and of its release, and each call of sudo is a
-- line of $CALLS.
local TOOLS = {
  id = "echo 1000",
  sudo = [[
echo "$@" >>"$CALLS"
if [ "$1" = tee ]; then cat >/dev/null; fi]],
  ["dpkg-query"] = [[
for name; do :; done
case " $INSTALLED " in *" $name "*) echo installed ;; *) exit 1 ;; esac]],
  ["apt-cache"] = [[
case " $KNOWN " in
  *" $2 "*) echo "$2:"; echo "  Installed: (none)"; echo "  Candidate: 1.0-1" ;;
  *) echo "$2:"; echo "  Installed: (none)"; echo "  Candidate: (none)" ;; # one that others provide
esac]],
}

-- The packages that it lets apt-get install, or nil; and what it says.
local function install(option, installed, known)
  local dir = paths.tmp()
  for name, body in pairs(TOOLS) do
    paths.write(dir .. "/" .. name, "#!/bin/sh\n" .. body .. "\n")
    uv.fs_chmod(dir .. "/" .. name, tonumber("755", 8))
  end
  local run = process.run({ "scripts/install-deps", option }, {
    cwd = paths.root,
    env = {
      PATH = dir .. ":" .. os.getenv "PATH", CALLS = dir .. "/calls",
      INSTALLED = table.concat(installed, " "), KNOWN = table.concat(known, " "),
    },
  })
  assert.equal(0, run.exit_code, run.stderr)
  local names = (paths.read(dir .. "/calls") or ""):match "apt%-get [^\n]- install %S+ %S+ ([^\n]*)"
  if not names then
    return nil, run.stderr
  end
  local packages = {}
  for name in names:gmatch "%S+" do
    packages[name] = true
  end
  return packages, run.stderr
end

it("installs what a package is called on this release", function()
  local old, said = install("--runtime", {}, { "libssl3", "libcurl4" })
  assert.is_true(old.libssl3 and old.libcurl4)
  assert.is_nil(old.libssl3t64)
  assert.matches("Installing: [^\n]*libssl3 ", said)
  local new = install("--runtime", {}, { "libssl3t64", "libcurl4t64" })
  assert.is_true(new.libssl3t64 and new.libcurl4t64)
  assert.is_nil(new.libssl3 or new.libcurl4)
end)

it("is content with a package by any of its names", function()
  local packages = install("--runtime", { "libssl3t64" }, { "libssl3t64", "libcurl4" })
  assert.is_nil(packages.libssl3 or packages.libssl3t64)
  assert.is_true(packages.libcurl4)
end)

it("takes llhttp where the release has it, whatever else is there", function()
  for option, names in pairs {
    ["--build-only"] = { llhttp = "libllhttp-dev", http_parser = "libhttp-parser-dev" },
    ["--runtime"] = { llhttp = "libllhttp9.2", http_parser = "libhttp-parser2.9" },
  } do
    local old, both = { names.http_parser }, { names.http_parser, names.llhttp }
    assert.is_true(install(option, {}, old)[names.http_parser])
    assert.is_nil(install(option, old, old)[names.http_parser])
    for _, installed in ipairs { {}, old } do
      local packages = install(option, installed, both)
      assert.is_true(packages[names.llhttp])
      assert.is_nil(packages[names.http_parser])
    end
    assert.is_nil(install(option, { names.llhttp }, both)[names.llhttp])
  end
end)

it("does nothing where all is there", function()
  local packages, said = install("--release", { "debootstrap", "debian-archive-keyring" }, {})
  assert.is_nil(packages)
  assert.equal("", said)
end)

describe("another release", function()
  it("needs a name and a command", function()
    for _, arguments in ipairs { {}, { "trixie" }, { "../x", "true" }, { "-x", "true" } } do
      local run = process.run({ "scripts/release", unpack(arguments) }, { cwd = paths.root })
      assert.equal(64, run.exit_code)
      assert.matches("needs the name of a release, and a command", run.stderr, 1, true)
    end
    local run = process.run({ "scripts/test", "--release" }, { cwd = paths.root })
    assert.equal(64, run.exit_code)
    assert.matches("needs the name of a release", run.stderr, 1, true)
  end)

  it("says that it needs root", function()
    local dir = paths.tmp()
    paths.write(dir .. "/id", "#!/bin/sh\necho 1000\n")
    uv.fs_chmod(dir .. "/id", tonumber("755", 8))
    local run = process.run({ "scripts/test", "--release", "trixie" }, {
      cwd = paths.root, env = { PATH = dir .. ":" .. os.getenv "PATH", TG_RELEASES = dir },
    })
    assert.equal(1, run.exit_code)
    assert.matches("only root can enter a system of its own; try again with sudo", run.stderr, 1, true)
  end)
end)
