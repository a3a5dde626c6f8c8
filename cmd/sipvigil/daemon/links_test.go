package daemon

import (
	"testing"
	"time"

	"sipvigil/supervisor/links"
)

func TestFaultsOfMonitoring(t *testing.T) {
	test := func(monitor string, want ...string) {
		t.Helper()
		_, err := load(t, `trunks: [{name: a, targets: ["sip:192.0.2.1;transport=tcp", "sip:192.0.2.2"], monitor: `+monitor+"}]\n", nil, nil)
		wantFaults(t, err, want...)
	}
	const at = "sipvigil.yaml:1: trunks[0].monitor"
	test("{probe: none}")
	test("{preset: nobody, up_after: 0}", at+`.preset: "nobody" is none of audiocodes, avaya, cisco-cube, cisco-cucm, kamailio, lync, opensips, oracle, panasonic, ribbon, teams`,
		at+".up_after: 0 is below 1")
	test("{probe: icmp, mode: never}", at+`.probe: "icmp" is none of options, register, crlf, tcp, none`, at+`.mode: "never" is neither continuous nor idle-only`)
	test("{interval: 0, interval_down: 10ms, jitter: 2, timeout: 33s}", at+".interval: 0s is below 1s", at+".interval_down: 10ms is below 1s",
		at+".jitter: 2 is not a share from 0 to 1", at+".timeout: 33s is not from 100ms to 32s, where SIP itself gives up")
	test("{down_after: 0, up_after: -1}", at+".down_after: 0 is below 1", at+".up_after: -1 is below 1")
	test(`{down_codes: [503, 200, "500 ("]}`,
		at+`.down_codes[1]: "200" is not a status from 300 to 699 such as 503, or a class such as 5xx, with or without a part of its reason phrase behind it`,
		at+`.down_codes[2]: "500 (": the reason phrase is not a regular expression: missing closing ): `+"`(?i:()`")
	test("{probe: crlf}", at+`.probe: crlf needs a connection: give target "sip:192.0.2.2" transport=tcp or transport=tls`)
	test("{jitter: x, colour: red}", at+`.jitter: "x" is not a number`, at+`: unknown key "colour", there are preset, probe, mode, interval, interval_down, `+
		"jitter, timeout, down_after, up_after, down_codes, inbound_counts, demote")
	_, err := load(t, "trunks: [{name: a, sources: [192.0.2.1], monitor: {}}]\n", nil, nil)
	wantFaults(t, err, at+": has no effect without targets, whose addresses are watched")
}

func TestWhatIsGivenCountsMoreThanThePreset(t *testing.T) {
	c, err := load(t, `trunks:
  - {name: plain, targets: ["sip:192.0.2.1"]}
  - {name: default, targets: ["sip:192.0.2.2"], monitor: {}}
  - {name: preset, targets: ["sip:192.0.2.3"], monitor: {preset: teams}}
  - {name: both, targets: ["sip:192.0.2.4"], monitor: {preset: teams, down_codes: [], demote: false, up_after: 7}}
`, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	list := watched(c.Trunks)
	if len(list) != 3 {
		t.Fatalf("%d trunks are watched, want 3", len(list))
	}
	check := func(i int, name string, codes, up int, demote bool, interval time.Duration) {
		t.Helper()
		if k := &list[i]; k.Name != name || len(k.DownCodes) != codes || k.UpAfter != up || k.Demote != demote || k.IntervalDown != interval || k.Probe != links.Options {
			t.Errorf("%+v", *k)
		}
	}
	check(0, "default", 3, 2, false, 30*time.Second)
	check(1, "preset", 3, 1, true, time.Minute)
	check(2, "both", 0, 7, false, time.Minute)
}
