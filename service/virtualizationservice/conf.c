/* The configuration file; see conf.h. At the start only. */
#include "service/virtualizationservice/conf.h"

#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/opt.h"
#include "service/common/paths.h"

#define CONF_MAX 65536 /* bytes */
#define LIMIT_UNSET (UINT64_MAX - 1)
#define MAX_NUMBER (UINT64_MAX >> 24) /* MiB in bytes do not overflow */

static const struct {
	const char *key;
	size_t offset;
	uint64_t def;
} limit_keys[] = {
	{ "vms", offsetof(struct limits, vms), 1024 },
	{ "memory_mib", offsetof(struct limits, memory_mib), LIMIT_NONE },
	{ "cids", offsetof(struct limits, cids), 2048 },
	{ "connections", offsetof(struct limits, connections), 512 },
};

struct conf_section {
	struct limits limits;
	unsigned line;
	char *name; /* or NULL: the uid was given */
	uid_t uid;
};

/* Where the parser is. */
struct place {
	struct conf *conf;
	unsigned line;
	bool in_section;
	ssize_t user; /* of the section; -1: [default] */
};

static uint64_t *limit_at(struct limits *limits, size_t i)
{
	return (uint64_t *)((char *)limits + limit_keys[i].offset);
}

static void unset(struct limits *limits)
{
	for (size_t i = 0; i < ARRAY_SIZE(limit_keys); i++)
		*limit_at(limits, i) = LIMIT_UNSET;
}

void conf_init(struct conf *conf)
{
	*conf = (struct conf){ 0 };
	for (size_t i = 0; i < ARRAY_SIZE(limit_keys); i++)
		*limit_at(&conf->defaults, i) = limit_keys[i].def;
}

void conf_free(struct conf *conf)
{
	for (size_t i = 0; i < conf->n_users; i++)
		free(conf->users[i].name);
	free(conf->users);
	free(conf->group);
	free(conf->debug_group);
	*conf = (struct conf){ 0 };
}

/* Trim white space at both ends, in place. */
static char *trim(char *text)
{
	char *end;

	while (isspace((unsigned char)*text))
		text++;
	end = text + strlen(text);
	while (end > text && isspace((unsigned char)end[-1]))
		end--;
	*end = '\0';
	return text;
}

static int add_user(struct place *p, const char *name, bool by_name, struct err *err)
{
	struct conf *conf = p->conf;
	struct conf_section section = { .line = p->line }, *more;
	uint64_t uid;

	if (!by_name) {
		if (opt_number(name, &uid) < 0 || uid >= UINT32_MAX)
			return err_set(err, -EINVAL, "line %u: %s: is not a uid",
				       p->line, name);
		section.uid = (uid_t)uid;
	} else {
		section.name = strdup(name);
		if (!section.name)
			return err_sys(err, -ENOMEM, "line %u", p->line);
	}
	more = reallocarray(conf->users, conf->n_users + 1, sizeof(*more));
	if (!more) {
		free(section.name);
		return err_sys(err, -ENOMEM, "line %u", p->line);
	}
	unset(&section.limits);
	p->user = (ssize_t)conf->n_users;
	conf->users = more;
	conf->users[conf->n_users++] = section;
	return 0;
}

/* "[default]", "[user NAME]", "[uid NUMBER]" */
static int parse_section(struct place *p, char *text, struct err *err)
{
	size_t len = strlen(text);
	char *name;
	bool user;

	if (text[len - 1] != ']')
		return err_set(err, -EINVAL, "line %u: %s: ] is missing", p->line,
			       text);
	text[len - 1] = '\0';
	text = trim(text + 1);
	p->in_section = true;
	p->user = -1;
	if (strcmp(text, "default") == 0)
		return 0;
	name = text + strcspn(text, " \t");
	if (*name)
		*name++ = '\0';
	name = trim(name);
	user = strcmp(text, "user") == 0;
	if ((!user && strcmp(text, "uid") != 0) || !*name)
		return err_set(err, -EINVAL,
			       "line %u: [%s]: is not [default], [user NAME] or "
			       "[uid NUMBER]",
			       p->line, text);
	return add_user(p, name, user, err);
}

static int set_group(struct place *p, char **group, const char *value, struct err *err)
{
	free(*group);
	*group = strdup(value);
	return *group ? 0 : err_sys(err, -ENOMEM, "line %u", p->line);
}

static int set_limit(struct place *p, const char *key, const char *value,
		     struct err *err)
{
	struct limits *limits = p->user < 0 ? &p->conf->defaults
					    : &p->conf->users[p->user].limits;
	uint64_t number;

	for (size_t i = 0; i < ARRAY_SIZE(limit_keys); i++) {
		if (strcmp(limit_keys[i].key, key) != 0)
			continue;
		if (strcmp(value, "unlimited") == 0)
			number = LIMIT_NONE;
		else if (opt_number(value, &number) < 0 || number > MAX_NUMBER)
			return err_set(err, -EINVAL,
				       "line %u: %s: %s: is neither a number nor "
				       "\"unlimited\"",
				       p->line, key, value);
		*limit_at(limits, i) = number;
		return 0;
	}
	return err_set(err, -EINVAL, "line %u: %s: there is no such key here", p->line,
		       key);
}

static int parse_line(struct place *p, char *text, struct err *err)
{
	char *value, *key;

	text = trim(text);
	if (!*text || *text == '#')
		return 0;
	if (*text == '[')
		return parse_section(p, text, err);
	value = strchr(text, '=');
	if (!value)
		return err_set(err, -EINVAL, "line %u: %s: is not KEY = VALUE", p->line,
			       text);
	*value++ = '\0';
	key = trim(text);
	value = trim(value);
	if (!*value)
		return err_set(err, -EINVAL, "line %u: %s: has no value", p->line, key);
	if (!p->in_section && strcmp(key, "group") == 0)
		return set_group(p, &p->conf->group, value, err);
	if (!p->in_section && strcmp(key, "debug_group") == 0)
		return set_group(p, &p->conf->debug_group, value, err);
	if (!p->in_section)
		return err_set(err, -EINVAL,
			       "line %u: %s: there is no such key before a [section]",
			       p->line, key);
	return set_limit(p, key, value, err);
}

int conf_parse(struct conf *conf, const char *text, size_t len, struct err *err)
{
	struct place p = { .conf = conf, .user = -1 };
	const char *end = text + len;
	int r = 0;

	if (memchr(text, '\0', len))
		return err_set(err, -EINVAL, "holds a NUL character");
	while (r == 0 && text < end) {
		const char *eol = memchr(text, '\n', (size_t)(end - text));
		size_t n = (size_t)((eol ? eol : end) - text);
		AUTO_FREE char *line = strndup(text, n);

		p.line++;
		r = line ? parse_line(&p, line, err) : err_sys(err, -ENOMEM, "memory");
		text += n + (eol != NULL);
	}
	return r;
}

int conf_load(struct conf *conf, const char *path, bool may_lack, struct err *err)
{
	AUTO_FREE char *text = NULL;
	AUTO_CLOSE int fd = -1;
	uint64_t size;
	int r;

	fd = r = file_open_regular("configuration", path, O_RDONLY, &size, err);
	if (r == -ENOENT && may_lack)
		return 0;
	if (r < 0)
		return r;
	if (size > CONF_MAX)
		return err_set(err, -EFBIG, "%s: is larger than 64 KiB", path);
	text = malloc(size + 1);
	if (!text)
		return err_sys(err, -ENOMEM, "%s", path);
	r = file_read_at(fd, text, size, 0);
	if (r < 0)
		return err_sys(err, r, "%s", path);
	r = conf_parse(conf, text, size, err);
	return r < 0 ? err_prefix(err, r, "%s", path) : 0;
}

int conf_resolve(struct conf *conf, struct err *err)
{
	for (size_t i = 0; i < conf->n_users; i++) {
		struct conf_section *section = &conf->users[i];
		const struct passwd *user;

		if (!section->name)
			continue;
		user = getpwnam(section->name);
		if (!user)
			return err_set(err, -EINVAL,
				       "line %u: %s: there is no such user",
				       section->line, section->name);
		section->uid = user->pw_uid;
	}
	return 0;
}

struct limits conf_limits(const struct conf *conf, uid_t uid)
{
	struct limits limits = conf->defaults;

	for (size_t i = 0; i < conf->n_users; i++) {
		struct limits user = conf->users[i].limits;

		if (conf->users[i].uid != uid)
			continue;
		for (size_t j = 0; j < ARRAY_SIZE(limit_keys); j++)
			if (*limit_at(&user, j) != LIMIT_UNSET)
				*limit_at(&limits, j) = *limit_at(&user, j);
	}
	return limits;
}
