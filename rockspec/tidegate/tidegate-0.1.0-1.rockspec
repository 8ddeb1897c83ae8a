-- Made from the root of the repository: luarocks --lua-version=5.1 make rockspec/tidegate/tidegate-0.1.0-1.rockspec
rockspec_format = "3.0"
package = "tidegate"
version = "0.1.0-1"
source = { url = "git+https://github.com/tidegate/tidegate.git", tag = "v0.1.0" }
description = {
  summary = "For authors of Tidegate's scripts and plugins: types, the plugin base and the test kit",
  detailed = "The test kit of plugins for plain busted, without the gateway, and LuaCATS types for editors.",
  homepage = "https://github.com/tidegate/tidegate",
  license = "MIT",
}
dependencies = { "lua >= 5.1, < 5.2", "lua-cjson >= 2.1" }
build = { type = "builtin", modules = {} } -- LuaRocks takes what is in lua/
