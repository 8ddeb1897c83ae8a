# Run by CPack on the tree that becomes the .deb: what `cmake --install` must not do to a machine, such as
# writing to /etc, and what only Debian wants.

set(root ${CPACK_TEMPORARY_DIRECTORY})
set(examples ${CMAKE_CURRENT_LIST_DIR}/../..)

file(MAKE_DIRECTORY ${root}/etc/tidegate)
foreach(path scripts/gateway.lua deploy/tidegate.env)
  get_filename_component(name ${path} NAME)
  file(COPY_FILE ${examples}/${path} ${root}/etc/tidegate/${name})
endforeach()
file(CHMOD ${root}/etc/tidegate/gateway.lua PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
file(CHMOD ${root}/etc/tidegate/tidegate.env PERMISSIONS OWNER_READ OWNER_WRITE)

file(RENAME ${root}/usr/share/doc/tidegate/LICENSE ${root}/usr/share/doc/tidegate/copyright)
file(GLOB pages ${root}/usr/share/man/man*/*.[1-9])
if(pages)
  execute_process(COMMAND gzip -9n ${pages} COMMAND_ERROR_IS_FATAL ANY)
endif()
