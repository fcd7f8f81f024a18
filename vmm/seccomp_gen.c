/*
 * Build-time tool: compiles vmm/seccomp_rules.h into one BPF program for each
 * kind of thread and prints them as C tables, so that vmm itself needs neither
 * libseccomp nor the time that it takes.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/vhost.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { M = 1, V = 2, W = 4, B = 8 };

enum test { ANY, EQUAL, BITS_CLEAR };

struct rule {
	unsigned kinds;
	int call;
	const char *name;
	enum test test;
	unsigned arg;
	uint64_t value;
};

#define RULE(k, c) { k, SCMP_SYS(c), #c, ANY, 0, 0 },
#define RULE_EQ(k, c, n, v) { k, SCMP_SYS(c), #c, EQUAL, n, v },
#define RULE_CLEAR(k, c, n, m) { k, SCMP_SYS(c), #c, BITS_CLEAR, n, m },
static const struct rule rules[] = {
#include "vmm/seccomp_rules.h"
};
#define N_RULES (sizeof(rules) / sizeof(rules[0]))

/* A call that two rules allow has two reasons, of which one may go unseen. */
static bool repeats(const struct rule *a, const struct rule *b)
{
	if (a->call != b->call || !(a->kinds & b->kinds))
		return false;
	return a->test == ANY || b->test == ANY ||
	       (a->test == b->test && a->arg == b->arg && a->value == b->value);
}

static int check(void)
{
	for (const struct rule *a = rules; a < rules + N_RULES; a++)
		for (const struct rule *b = rules; b < a; b++)
			if (repeats(a, b)) {
				fprintf(stderr, "two seccomp rules for %s\n", a->name);
				return -EEXIST;
			}
	return 0;
}

static int add(scmp_filter_ctx ctx, const struct rule *r)
{
	struct scmp_arg_cmp cmp = { .arg = r->arg };

	switch (r->test) {
	case EQUAL:
		/* The kernel looks at 32 bits of these arguments, so must we. */
		cmp.op = SCMP_CMP_MASKED_EQ;
		cmp.datum_a = UINT32_MAX;
		cmp.datum_b = r->value & UINT32_MAX;
		return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, r->call, 1, &cmp);
	case BITS_CLEAR:
		cmp.op = SCMP_CMP_MASKED_EQ;
		cmp.datum_a = r->value;
		cmp.datum_b = 0;
		return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, r->call, 1, &cmp);
	case ANY:
		break;
	}
	return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, r->call, 0, NULL);
}

static int print(const char *name, FILE *bpf)
{
	struct sock_filter f;

	rewind(bpf);
	printf("static const struct sock_filter filter_%s[] = {\n", name);
	while (fread(&f, sizeof(f), 1, bpf) == 1)
		printf("\t{ 0x%x, %u, %u, 0x%x },\n", f.code, f.jt, f.jf, f.k);
	printf("};\n");
	return ferror(bpf) || ferror(stdout) ? -EIO : 0;
}

static int generate(unsigned kind, const char *name)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	FILE *bpf = tmpfile();
	int r = ctx && bpf ? 0 : -ENOMEM;

	/* A tree, not a chain: KVM_RUN must not wait behind thirty comparisons. */
	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH,
				     SCMP_ACT_KILL_PROCESS);
	for (size_t i = 0; r == 0 && i < N_RULES; i++) {
		if (rules[i].kinds & kind)
			r = add(ctx, &rules[i]);
		if (r == -EEXIST) /* the sanitizers' rules repeat some */
			r = 0;
		if (r < 0)
			fprintf(stderr, "seccomp rule for %s: %s\n", rules[i].name,
				strerror(-r));
	}
	if (r == 0)
		r = seccomp_export_bpf(ctx, fileno(bpf));
	if (r == 0)
		r = print(name, bpf);
	if (bpf)
		fclose(bpf);
	seccomp_release(ctx);
	return r;
}

int main(void)
{
	bool may_repeat = false;

#ifdef SANITIZED /* whose rules repeat others */
	may_repeat = true;
#endif
	if (!may_repeat && check() < 0)
		return EXIT_FAILURE;
	if (generate(M, "main") < 0 || generate(V, "vcpu") < 0 ||
	    generate(W, "worker") < 0 || generate(B, "broker") < 0)
		return EXIT_FAILURE;
	return EXIT_SUCCESS;
}
