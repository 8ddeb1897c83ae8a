#include "manager/storm.h"

#include "manager/internal.h"

void tg_manager_set_storm(struct tg_manager *manager, json_t *storm, int generation)
{
  if (generation != tg_workers_generation(manager->workers))
    return; /* of a script that a reload has replaced meanwhile */
  json_incref(storm);
  json_decref(manager->storm);
  manager->storm = storm;
  manager->storm_generation = generation;
  const struct tg_message message = {.type = TG_MESSAGE_set_storm, .set_storm = {generation, storm}};
  tg_workers_tell_all(manager->workers, &message, -1);
}

void tg_storm_tell(struct tg_manager *manager, int worker)
{
  struct tg_ipc *line = tg_workers_line(manager->workers, worker);
  if (line && manager->storm && manager->storm_generation == tg_workers_generation(manager->workers))
    tg_say(line, set_storm, .generation = manager->storm_generation, .storm = manager->storm);
}

bool tg_gateway_storm_is_scripts(const struct tg_manager *manager)
{
  return manager->storm && manager->storm_generation == tg_workers_generation(manager->workers);
}
