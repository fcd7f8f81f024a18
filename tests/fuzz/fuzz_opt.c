/* Option text: no crash, no leak, and what was parsed keeps to its table. */
#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/opt.h"

struct sub {
	uint64_t n;
	char *s;
};

struct cfg {
	char *s;
	bool b;
	uint64_t n;
	int e;
	struct sub g;
	struct opt_list l;
};

static const char *const words[] = { "one", "two", NULL };

static const struct opt sub_table[] = {
	{ .key = "n", .type = OPT_U64, .min = 2, .def = 2 },
	{ .key = "s", .type = OPT_STR, .offset = offsetof(struct sub, s) },
	{ 0 },
};

static const struct opt table[] = {
	{ .key = "s", .alias = "text", .type = OPT_STR, .flags = OPT_FIRST },
	{ .key = "b", .type = OPT_BOOL, .offset = offsetof(struct cfg, b) },
	{ .key = "n", .type = OPT_U64, .max = 9, .offset = offsetof(struct cfg, n) },
	{ .key = "e-f",
	  .type = OPT_ENUM,
	  .names = words,
	  .offset = offsetof(struct cfg, e) },
	{ .key = "g",
	  .type = OPT_GROUP,
	  .flags = OPT_BARE,
	  .sub = sub_table,
	  .offset = offsetof(struct cfg, g) },
	{ .key = "l", .type = OPT_LIST, .offset = offsetof(struct cfg, l) },
	{ 0 },
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size);
	struct err err = { "" };
	struct cfg cfg = { 0 };
	int r;

	opt_defaults(table, &cfg);
	r = opt_parse(table, text, &cfg, &err);
	assert((r < 0) == (err.msg[0] != '\0'));
	assert(cfg.n <= 9 && cfg.g.n >= 2 && (cfg.e == 0 || cfg.e == 1));
	opt_free(table, &cfg);
	free(text);
	return 0;
}
