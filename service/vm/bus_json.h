/* What managers and VMs answer, as JSON. Any thread. */
#pragma once

#include <jansson.h>
#include <systemd/sd-bus.h>

#include "base/err.h"

/*
 * Read an a{sv}, or an aa{sv}, of @m into *@ret; values of other types than basic ones
 * are left out. A number "state" becomes its word. Errors: the message is not that.
 */
int bus_json_dict(sd_bus_message *m, json_t **ret, struct err *err);
int bus_json_dicts(sd_bus_message *m, json_t **ret, struct err *err);

/* "started"; "unknown" for a number that is no state. */
const char *bus_json_state(uint32_t state);

/* Print @json, indented, and a newline. */
void bus_json_print(const json_t *json);

/* Print a value without control characters: a VM's words are not trusted. */
void bus_json_print_plain(const json_t *value);
