rockspec_format = "3.0"
package = "tidegate-plugin-sample"
version = "1.0.0-1"

source = {
  url = "git+https://github.com/tidegate/tidegate.git",
  tag = "v0.1.0",
  dir = "tidegate/rockspec/sample",
}

description = {
  summary = "Lets only so many events a second, or a fraction of them, reach a bot behind Tidegate",
  homepage = "https://github.com/tidegate/tidegate",
  license = "MIT",
}

dependencies = { "lua >= 5.1, < 5.2" }

build = {
  type = "builtin",
  modules = {
    ["tidegate.plugins.sample.handler"] = "tidegate/plugins/sample/handler.lua",
    ["tidegate.plugins.sample.schema"] = "tidegate/plugins/sample/schema.lua",
  },
}
