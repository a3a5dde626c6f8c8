package links

import (
	"strings"
	"testing"
	"time"
)

// What each system does is in the documents that the table of presets names.
func TestPresetsWatchAsTheirSystemsDo(t *testing.T) {
	test := func(preset, what string, r reply, lasting time.Duration, want ...string) {
		t.Run(preset+": "+what, func(t *testing.T) {
			c, ok := Preset(preset)
			if !ok {
				t.Fatal("there is no such preset")
			}
			course(t, c, r, lasting, want...)
		})
	}
	test("avaya", "no media resources, twice", inTurn("200 OK", "503 Service Unavailable (no media resources)", "503 Service Unavailable (No Media Resources)", "200 OK"), 40*time.Minute,
		"500ms ask", "510ms up", "15m0.51s ask", "17m0.51s ask", "17m0.52s down", "19m0.51s ask", "19m0.52s up", "34m0.52s ask")
	for _, well := range []string{"404 Not Found", "405 Method Not Allowed", "500 Server Internal Error", "503 Service Unavailable (Signaling Resources Unavailable)", "486 Busy Here"} {
		test("avaya", well, inTurn(well), time.Minute, "500ms ask", "510ms up")
	}
	for _, ill := range []string{"408 Request Timeout", "500 Destination Unreachable", "503 Service Unavailable", "503 Service Unavailable (LSP is inactive)", "503 - System Busy", "504 Server Time-out"} {
		test("avaya", ill, inTurn(ill), 3*time.Minute, "500ms ask", "2m0.5s ask", "2m0.51s down")
	}
	test("avaya", "silence", inTurn("-"), 3*time.Minute, "500ms ask", "2m0.5s ask", "2m10.5s down")

	test("cisco-cube", "503, five times", inTurn("200 OK", "503 Service Unavailable", "505 Version Not Supported", "-", "503 Service Unavailable", "503 Service Unavailable", "200 OK"), 5*time.Minute,
		"500ms ask", "510ms up", "1m0.51s ask", "1m30.51s ask", "2m0.51s ask", "2m30.51s ask", "3m0.51s ask", "3m0.52s down",
		"3m30.51s ask", "4m0.52s ask", "4m0.53s up")
	for _, well := range []string{"400 Bad Request", "404 Not Found", "408 Request Timeout", "500 Server Internal Error", "504 Server Time-out"} {
		test("cisco-cube", well, inTurn(well), time.Minute, "500ms ask", "510ms up")
	}

	test("cisco-cucm", "silence", inTurn("200 OK", "-", "200 OK"), 5*time.Minute,
		"500ms ask", "510ms up", "1m0.51s ask", "1m4.01s down", "3m0.51s ask", "3m0.52s up", "4m0.52s ask")
	test("cisco-cucm", "408", inTurn("408 Request Timeout"), time.Minute, "500ms ask", "510ms down")
	test("cisco-cucm", "no connection", inTurn("!"), time.Minute, "500ms ask", "510ms down")
	test("cisco-cucm", "500", inTurn("500 Server Internal Error"), time.Minute, "500ms ask", "510ms up")

	test("oracle", "any answer", inTurn("503 Service Unavailable", "-", "200 OK"), 3*time.Minute,
		"500ms ask", "510ms up", "1m0.51s ask", "1m10.51s down", "1m30.51s ask", "1m30.52s up", "2m30.52s ask")

	test("ribbon", "six of each", inTurn("486 Busy", "-", "-", "-", "-", "-", "-", "503 Out", "503 Out", "503 Out", "503 Out", "503 Out", "200 OK"), 15*time.Minute,
		"500ms ask", "510ms up", "1m0.51s ask", "2m0.51s ask", "3m0.51s ask", "4m0.51s ask", "5m0.51s ask", "6m0.51s ask", "6m10.51s down",
		"7m0.51s ask", "8m0.52s ask", "9m0.53s ask", "10m0.54s ask", "11m0.55s ask", "12m0.56s ask", "12m0.57s up", "13m0.57s ask", "14m0.58s ask")

	test("audiocodes", "any answer, back after ten seconds", inTurn("503 Service Unavailable", "-", "!", "404 Not Found"), 3*time.Minute,
		"500ms ask", "510ms up", "1m0.51s ask", "1m10.51s down", "1m10.51s ask", "1m20.51s ask", "1m20.52s up", "2m20.52s ask")

	test("lync", "five without an answer", inTurn("200 OK", "-", "-", "-", "-", "-", "200 OK"), 7*time.Minute,
		"500ms ask", "510ms up", "1m0.51s ask", "2m0.51s ask", "3m0.51s ask", "4m0.51s ask", "5m0.51s ask", "5m10.51s down", "6m0.51s ask", "6m0.52s up")

	test("teams", "three minutes", inTurn("200 OK", "504 Server Time-out", "-", "503 Busy", "200 OK"), 5*time.Minute,
		"500ms ask", "510ms up", "1m0.51s ask", "2m0.51s ask", "3m0.51s ask", "3m0.52s down", "4m0.51s ask", "4m0.52s up")

	test("panasonic", "it is not asked", inTurn("200 OK"), time.Hour)

	test("opensips", "only 200 is well", inTurn("200 OK", "404 Not Found", "486 Busy", "302 Moved", "200 OK"), 3*time.Minute,
		"500ms ask", "510ms up", "30.51s ask", "1m0.51s ask", "1m30.51s ask", "1m30.52s down", "2m0.51s ask", "2m0.52s up", "2m30.52s ask")

	test("kamailio", "one is enough", inTurn("200 OK", "405 Method Not Allowed", "200 OK"), 3*time.Minute,
		"500ms ask", "510ms up", "1m0.51s ask", "1m0.52s down", "1m30.51s ask", "1m30.52s up", "2m30.52s ask")
}

func TestAGatewayThatPollsUsIsNotPolledByThePresetLync(t *testing.T) {
	c, _ := Preset("lync")
	inWorld(t, one(c), oneAddress, func(w *world) {
		w.answers(here, inTurn("200 OK"))
		w.until(30 * time.Second)
		w.hears("<")
		w.until(4 * time.Minute)
		w.hears("<")
		w.until(11 * time.Minute)
		w.happened("polls", "500ms ask", "510ms up", "9m0s ask", "10m0.01s ask")
	})
}

func TestThePresetTeamsDemotes(t *testing.T) {
	c, _ := Preset("teams")
	inWorld(t, one(c), oneAddress, func(w *world) {
		w.until(5 * time.Minute)
		if s, use := w.links.State("carrier"), w.links.Use("carrier", place(here)); s != Down || use != UseLast {
			t.Errorf("it is %s, use %v", s, use)
		}
	})
}

func TestThePresetOracleForgivesNineLostINVITEs(t *testing.T) {
	c, _ := Preset("oracle")
	inWorld(t, one(c), oneAddress, func(w *world) {
		w.answers(here, inTurn("200 OK"))
		w.until(10 * time.Second)
		w.hears("-", "-", "-", "-", "-", "-", "-", "-", "-")
		w.happened("nine", "500ms ask", "510ms up")
		w.hears("503 Busy; 60")
		w.hears("-", "-", "-", "-", "-", "-", "-", "-", "-")
		w.happened("an answer of any kind in between")
		w.hears("-")
		w.happened("ten", "10s down")
	})
}

func TestEveryPresetHasItsSourceAndNoFault(t *testing.T) {
	want := "audiocodes avaya cisco-cube cisco-cucm kamailio lync opensips oracle panasonic ribbon teams"
	if got := strings.Join(Presets(), " "); got != want {
		t.Errorf("there are %s, want %s", got, want)
	}
	for i := range presets {
		c, _ := Preset(presets[i].name)
		for key, err := range c.Faults() {
			t.Errorf("%s: %s: %v", presets[i].name, key, err)
		}
		if presets[i].source == "" {
			t.Errorf("%s has no source", presets[i].name)
		}
	}
	if _, ok := Preset("nobody"); ok {
		t.Error("there is a preset for nobody")
	}
}

func TestCodesMatchStatusAndPhrase(t *testing.T) {
	test := func(text string, status int, phrase string, want bool) {
		t.Helper()
		c, err := ParseCode(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			return
		}
		if got := c.matches(status, phrase); got != want || c.String() != text {
			t.Errorf("%q (shown as %q) matches %d %s: %v, want %v", text, c, status, phrase, got, want)
		}
	}
	test("503", 503, "Whatever", true)
	test("503", 504, "", false)
	test("5xx", 599, "", true)
	test("5XX", 600, "", false)
	test("500 destination unreachable", 500, "Destination Unreachable", true)
	test("500 destination unreachable", 500, "Server Internal Error", false)
	test("503 ^[^(]*$", 503, "Service Unavailable", true)
	test("503 ^[^(]*$", 503, "Service Unavailable (Signaling)", false)
	test("6xx ^(a|b)$", 600, "B", true)
	test("6xx ^(a|b)$", 600, "bc", false)
	for _, wrong := range []string{"", "200", "xxx", "7xx", "2xx", "50", "5034", "503.0", "503 (", "-503", "99999999999999999999"} {
		if _, err := ParseCode(wrong); err == nil {
			t.Errorf("%q is taken for a code", wrong)
		}
	}
}
