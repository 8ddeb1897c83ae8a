#pragma once

/* Pages of `tidegate help` that are about no command. They begin with a line "Title:", which makes them
 * sections of the manual page. */

/* What may stand in environment variables: a line each, made from the table of options. */
void tg_topic_environment(void);

/* Which files the gateway reads and writes. */
void tg_topic_files(void);
