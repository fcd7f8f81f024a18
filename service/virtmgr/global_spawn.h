/* Starting the user's own service, where the host has none. */
#pragma once

#include "base/err.h"

/*
 * Start it in @folder; it is ready when this returns 0, or another one is that was
 * started at the same time. It outlives this process if others need it.
 */
int global_spawn(const char *folder, struct err *err);
