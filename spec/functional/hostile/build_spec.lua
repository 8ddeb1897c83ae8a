-- The programs are built so that a bug is harder to use against whoever runs them.

local paths = require "spec.support.paths"
local process = require "spec.support.process"

local sanitized = os.getenv "ASAN_OPTIONS" ~= nil -- a build of another kind

local function read(program, ...)
  local p = process.run { "readelf", "-W", ..., paths.bin(program) }
  assert.equal(0, p.exit_code, p.stderr)
  return p.stdout
end

for _, program in ipairs { "tidegate", "tidegate-fake-discord" } do
  describe(program, function()
    local test = sanitized and pending or it

    test("is loaded at an address that nobody knows", function()
      assert.matches("Type:%s+DYN", read(program, "-h"))
      assert.matches("FLAGS_1[^\n]*PIE", read(program, "-d"))
    end)

    test("cannot be written to where it holds the addresses of functions", function()
      assert.matches("GNU_RELRO", read(program, "-l"), 1, true)
      assert.matches("FLAGS_1[^\n]*NOW", read(program, "-d"))
    end)

    test("has no stack that can be executed", function()
      assert.matches("GNU_STACK[^\n]*RW ", read(program, "-l"))
    end)

    test("notices a stack that was written over, and a buffer that would be", function()
      local symbols = read(program, "--dyn-syms")
      assert.matches("__stack_chk_fail", symbols, 1, true)
      assert.matches("__%l*printf_chk", symbols)
    end)
  end)
end

it("the package has all that Debian's own packages have", function()
  local p = process.run { "sh", "-c", "DEB_BUILD_MAINT_OPTIONS=hardening=+all dpkg-buildflags --status" }
  assert.equal(0, p.exit_code, p.stderr)
  assert.matches("dpkg-buildflags --export=sh", paths.read(paths.root .. "/scripts/package"), 1, true)
end)
