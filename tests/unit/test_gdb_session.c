/* vmm/gdb_session.c and vmm/gdb_proto.c: what gdb says, and what it is told. */
#include "vmm/gdb_session.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "tests/unit/fake_target.h"

static struct fake_target t;

static int setup(void **state)
{
	(void)state;
	fake_target_start(&t);
	return 0;
}

static void send_raw(const char *text)
{
	for (; *text; text++) {
		gdb_session_byte(&t.session, (uint8_t)*text);
		assert_false(t.session.tx.overflow);
	}
}

/* Say @text in a packet. */
static void say(const char *text)
{
	char end[4];
	uint8_t sum = 0;

	for (const char *p = text; *p; p++)
		sum = (uint8_t)(sum + (unsigned char)*p);
	snprintf(end, sizeof(end), "#%02x", sum);
	send_raw("$");
	send_raw(text);
	send_raw(end);
}

/* All that was sent since: "" or "+" and packets, whose sums must be right. */
static const char *heard(void)
{
	static char text[GDB_PACKET_MAX + 512];
	struct gdb_tx *tx = &t.session.tx;
	size_t n = tx->len - tx->sent, out = 0;
	const char *p = tx->text + tx->sent;

	for (size_t i = 0; i < n; i++) {
		char end[4];
		uint8_t sum = 0;

		text[out++] = p[i];
		if (p[i] != '$')
			continue;
		while (p[++i] != '#') {
			sum = (uint8_t)(sum + (unsigned char)p[i]);
			text[out++] = p[i];
		}
		snprintf(end, sizeof(end), "#%02x", sum);
		assert_memory_equal(p + i, end, 3);
		i += 2;
	}
	text[out] = '\0';
	tx->sent = tx->len;
	return text;
}

static void asks(const char *text, const char *answer)
{
	say(text);
	assert_string_equal(heard(), answer);
}

static void packets_are_acknowledged_until_not_wanted(void **state)
{
	(void)state;
	asks("?", "+$T05thread:1;");
	send_raw("$?#00");
	assert_string_equal(heard(), "-");
	send_raw("$?#3x$?#x");
	assert_string_equal(heard(), "--");
	send_raw("junk+-$half$?#3f");
	assert_string_equal(heard(), "+$T05thread:1;");
	asks("QStartNoAckMode", "+$OK");
	asks("?", "$T05thread:1;");
	send_raw("$?#00");
	assert_string_equal(heard(), "");
}

static void the_longest_packet_is_taken_and_no_longer_one(void **state)
{
	static char text[GDB_PACKET_MAX + 2];

	(void)state;
	memset(text, 'x', GDB_PACKET_MAX);
	asks(text, "+$");
	text[GDB_PACKET_MAX] = 'x';
	asks(text, "-");
	asks("?", "+$T05thread:1;");
}

static void it_says_what_it_can(void **state)
{
	(void)state;
	asks("qSupported:multiprocess+;hwbreak+",
	     "+$PacketSize=4000;qXfer:features:read+;vContSupported+;swbreak+;hwbreak+;"
	     "QStartNoAckMode+");
	asks("qXfer:features:read:target.xml:0,4", "+$m<tar");
	asks("qXfer:features:read:target.xml:4,fff", "+$lget/>");
	asks("qXfer:features:read:target.xml:fffffff,fff", "+$l");
	asks("qXfer:features:read:other.xml:0,4", "+$E00");
	asks("qXfer:features:read:target.xml:0", "+$E00");
	asks("vCont?", "+$vCont;c;C;s;S");
	asks("qAttached", "+$1");
	asks("qCRC:0,1", "+$");
	asks("vFlashDone", "+$");
	asks("X10000,1:x", "+$");
	asks("", "+$");
}

static void each_vcpu_is_a_thread(void **state)
{
	(void)state;
	asks("qfThreadInfo", "+$m1,2,3,4");
	asks("qsThreadInfo", "+$l");
	asks("qC", "+$QC1");
	asks("qThreadExtraInfo,2", "+$764350552031");
	asks("qThreadExtraInfo,5", "+$E16");
	asks("T4", "+$OK");
	asks("T5", "+$E16");
	asks("T-1", "+$E16");
	asks("Hg3", "+$OK");
	asks("qC", "+$QC3");
	asks("Hg0", "+$OK");
	asks("qC", "+$QC3");
	asks("Hg5", "+$E16");
	asks("Hx1", "+$E16");
	asks("H", "+$E16");
}

static void registers_are_those_of_the_chosen_vcpu(void **state)
{
	(void)state;
	for (unsigned i = 0; i < FAKE_REGS_SIZE; i++)
		t.regs[1][i] = (unsigned char)(i + 1);
	asks("p0", "+$0000000000000000");
	asks("Hg2", "+$OK");
	asks("p0", "+$0102030405060708");
	asks("p1", "+$090a0b0c");
	asks("p3", "+$E16");
	asks("p", "+$E16");
	asks("g", "+$0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c");
	asks("P1=AABBccdd", "+$OK");
	assert_memory_equal(t.regs[1] + 8, "\xaa\xbb\xcc\xdd\x0d", 5);
	asks("P1=aabbcc", "+$E16");
	asks("P1=aabbccddee", "+$E16");
	asks("P3=aabbccdd", "+$E16");
	asks("G000000000000000000000000000000000000000000000000000000ff", "+$OK");
	assert_int_equal(t.regs[1][27], 0xff);
	assert_int_equal(t.regs[1][0], 0);
	asks("G00", "+$E16");
	assert_int_equal(t.regs[0][27], 0);
}

static void memory_is_read_as_far_as_it_goes(void **state)
{
	(void)state;
	memcpy(t.memory + 0x3ffe, "ab", 2);
	asks("m13ffe,2", "+$6162");
	asks("m13ffe,4", "+$6162");
	asks("m14000,4", "+$E0e");
	asks("mffffffffffffffff,4", "+$E0e");
	asks("m10000,0", "+$");
	asks("m10000", "+$E16");
	asks("m10000,1,1", "+$E16");
	asks("m11112222333344445,1", "+$E16");
	say("m10000,ffffffffffffffff");
	assert_int_equal(strlen(heard()), 2 + GDB_PACKET_MAX);
}

static void memory_is_written(void **state)
{
	(void)state;
	asks("M12ffe,4:61626364", "+$OK");
	assert_memory_equal(t.memory + 0x2ffe, "abcd", 4);
	asks("M13fff,2:6162", "+$E0e");
	asks("M12000,2:61", "+$E16");
	asks("M12000,2:616263", "+$E16");
	asks("M12000,2:6x", "+$E16");
	asks("M12000,ffffffff:61", "+$E16");
	asks("M12000,0:", "+$OK");
}

static void vcont_runs_steps_and_holds(void **state)
{
	(void)state;
	asks("vCont;s:2;c:3", "+");
	assert_int_equal(t.resumed, 1);
	assert_int_equal(t.actions[0], GDB_HOLD);
	assert_int_equal(t.actions[1], GDB_STEP);
	assert_int_equal(t.actions[2], GDB_RUN);
	assert_int_equal(t.actions[3], GDB_HOLD);
	t.running = false;
	gdb_session_stopped(&t.session, 1, 0, false);
	assert_string_equal(heard(), "$T05thread:2;");
	asks("?", "+$T05thread:2;");
	asks("qC", "+$QC2");

	asks("vCont;S05:1;c", "+");
	assert_int_equal(t.actions[0], GDB_STEP);
	assert_int_equal(t.actions[3], GDB_RUN);
	t.running = false;
	gdb_session_stopped(&t.session, 0, 0, false);
	heard();
	asks("vCont;", "+$E16");
	asks("vCont;x", "+$E16");
	asks("vCont;c:9", "+$E16");
	asks("vCont;c;", "+$E16");
	asks("vCont;C", "+$E16");
	assert_int_equal(t.resumed, 2);
}

static void the_old_commands_run_too(void **state)
{
	(void)state;
	asks("Hc3", "+$OK");
	asks("s", "+");
	assert_int_equal(t.actions[2], GDB_STEP);
	assert_int_equal(t.actions[0], GDB_HOLD);
	t.running = false;
	gdb_session_stopped(&t.session, 2, 0, false);
	heard();
	asks("c", "+");
	assert_int_equal(t.actions[0], GDB_RUN);
	t.running = false;
	gdb_session_stopped(&t.session, 2, 0, false);
	heard();
	asks("c1000", "+$E16");
	asks("s1000", "+$E16");
}

static void while_it_runs_only_interrupts_count(void **state)
{
	(void)state;
	send_raw("\x03");
	assert_string_equal(heard(), "");
	asks("c", "+");
	asks("g", "+");
	asks("m10000,4", "+");
	asks("k", "+");
	assert_false(t.killed);
	send_raw("\x03");
	assert_string_equal(heard(), "$T02thread:1;");
	assert_int_equal(t.interrupted, 1);
	assert_int_equal(t.resumed, 1);
}

static void points_take_the_cpus_places(void **state)
{
	(void)state;
	asks("Z0,1000,1", "+$OK");
	asks("Z1,2000,1", "+$OK");
	asks("Z2,3000,8", "+$OK");
	asks("Z4,4004,4", "+$OK");
	asks("Z2,3000,8", "+$OK"); /* again */
	asks("Z1,5000,1", "+$E1c");
	asks("z0,1000,1", "+$OK");
	asks("z0,1000,1", "+$OK");
	asks("Z3,5000,2", "+$OK");
	asks("Z2,5001,2", "+$E16");
	asks("Z2,5000,10", "+$E16");
	asks("Z2,5000", "+$E16");
	asks("Z5,5000,1", "+$");
	asks("Z", "+$");
	asks("z", "+$");
	asks("c", "+");
	assert_int_equal(t.points[0].kind, ARCH_DEBUG_ACCESS);
	assert_int_equal(t.points[0].addr, 0x5000);
	assert_int_equal(t.points[1].kind, ARCH_DEBUG_EXEC);
	assert_int_equal(t.points[1].len, 1);
	assert_int_equal(t.points[2].kind, ARCH_DEBUG_WRITE);
	assert_int_equal(t.points[2].len, 8);
	assert_int_equal(t.points[3].kind, ARCH_DEBUG_ACCESS);
}

static void hits_are_told_by_their_kind(void **state)
{
	static const struct {
		const char *insert, *remove, *told;
	} kinds[] = {
		{ "Z0,1000,1", "z0,1000,1", "$T05thread:4;swbreak:;" },
		{ "Z1,1000,1", "z1,1000,1", "$T05thread:4;hwbreak:;" },
		{ "Z2,1000,8", "z2,1000,8", "$T05thread:4;watch:1000;" },
		{ "Z3,ffffffff80001000,1", "z3,ffffffff80001000,1",
		  "$T05thread:4;rwatch:ffffffff80001000;" },
		{ "Z4,1000,1", "z4,1000,1", "$T05thread:4;awatch:1000;" },
	};

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		asks(kinds[i].insert, "+$OK");
		asks("c", "+");
		t.running = false;
		/* A bit without a point is nobody's. */
		gdb_session_stopped(&t.session, 3, 9, false);
		assert_string_equal(heard(), kinds[i].told);
		asks(kinds[i].remove, "+$OK");
	}
}

static void it_ends_as_gdb_or_the_guest_will(void **state)
{
	(void)state;
	gdb_session_ended(&t.session, 0);
	assert_string_equal(heard(), ""); /* gdb does not listen for that now */
	asks("c", "+");
	gdb_session_ended(&t.session, 0x145);
	assert_string_equal(heard(), "$W45");
	setup(NULL);
	asks("k", "+");
	assert_true(t.killed);
	setup(NULL);
	asks("vKill;1", "+$OK");
	assert_true(t.killed);
	setup(NULL);
	asks("D", "+$OK");
	assert_true(t.session.detached);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(packets_are_acknowledged_until_not_wanted,
				       setup),
		cmocka_unit_test_setup(the_longest_packet_is_taken_and_no_longer_one,
				       setup),
		cmocka_unit_test_setup(it_says_what_it_can, setup),
		cmocka_unit_test_setup(each_vcpu_is_a_thread, setup),
		cmocka_unit_test_setup(registers_are_those_of_the_chosen_vcpu, setup),
		cmocka_unit_test_setup(memory_is_read_as_far_as_it_goes, setup),
		cmocka_unit_test_setup(memory_is_written, setup),
		cmocka_unit_test_setup(vcont_runs_steps_and_holds, setup),
		cmocka_unit_test_setup(the_old_commands_run_too, setup),
		cmocka_unit_test_setup(while_it_runs_only_interrupts_count, setup),
		cmocka_unit_test_setup(points_take_the_cpus_places, setup),
		cmocka_unit_test_setup(hits_are_told_by_their_kind, setup),
		cmocka_unit_test_setup(it_ends_as_gdb_or_the_guest_will, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
