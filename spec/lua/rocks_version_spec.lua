-- Versions of rocks are ordered, and fit constraints, as LuaRocks itself has it.

require "luarocks.core.cfg".init()
local queries = require "luarocks.queries"
local vers = require "luarocks.core.vers"
local version = require "tidegate.rocks.version"

local VERSIONS = {
  "1", "1.0", "1.0-1", "1.0-2", "1.0.0", "1.0.1-1", "1.2", "1.2-3", "1.2.5-1", "1.10-1", "1.9-1", "2.0-1",
  "2", "0.9-4", "2.0rc1-1", "2.0rc2-1", "2.0beta1-1", "2.0alpha-1", "2.0pre1", "2.0-beta-1", "2.0_1-1",
  "scm-1", "dev-1", "cvs-2", "1.2a-1", "1.2b-1", "1.2.dev", "20230101-1", "v1.0-1", "1.0work1-1",
}

local CONSTRAINTS = {
  "~> 1", "~> 1.2", "~>1.2.5", "~> 1.0-1", "== 1.0", "1.0", "== 1.0-1", "= 2.0-1", "~= 1.0", "!= 1.0-2",
  "> 1.0", ">= 1.0-2", "< 2", "<= 2.0", "< 2.0rc2", ">= 2.0beta1", ">= 1, < 2", ">= 1 < 1.10",
  "> 1, ~= 1.2, <= scm", "== scm", "~> 2.0", "@1.0", "",
}

it("versions have LuaRocks' order", function()
  for _, a in ipairs(VERSIONS) do
    for _, b in ipairs(VERSIONS) do
      assert.equal(vers.parse_version(a) > vers.parse_version(b), version.is_newer(a, b), a .. " > " .. b)
    end
  end
end)

it("versions fit a constraint where they do for LuaRocks", function()
  for _, text in ipairs(CONSTRAINTS) do
    local theirs = text ~= "" and queries.from_dep_string("x " .. text).constraints or {}
    local ours = assert(version.constraints(text))
    for _, number in ipairs(VERSIONS) do
      assert.equal(vers.match_constraints(vers.parse_version(number), theirs), version.fits(number, ours),
        number .. " " .. text)
    end
  end
end)

it("what is no constraint is told", function()
  for _, text in ipairs { "~> ", "=> 1", "1.0 /", "> 1, <", "~~ 1", "(1)" } do
    local none, problem = version.constraints(text)
    assert.is_nil(none, text)
    assert.matches(('"%s" is no constraint on versions'):format(text), problem, 1, true)
  end
end)
