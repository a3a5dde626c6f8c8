package web

import "testing"

func TestSpreadsheetTakesNothingForAFormula(t *testing.T) {
	for s, want := range map[string]string{
		"": "", "Ann": "Ann", "=1+1": "'=1+1", "+49": "'+49", "-x": "'-x", "@x": "'@x", "\tx": "'\tx", "a=b": "a=b",
	} {
		if got := Inert(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}
