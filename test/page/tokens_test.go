package page

import (
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/chromedp"

	"sipvigil/cmd/sipvigil/daemon"
	"sipvigil/supervisor/web"
)

// user answers the browser's question for a name and a password as this user
// does. It returns how often that was asked.
func (b *tab) user(name, password string) func() int {
	b.t.Helper()
	var mu sync.Mutex
	asked := 0
	paused := chromedp.Events(b.ctx, fetch.RequestPaused)
	required := chromedp.Events(b.ctx, fetch.AuthRequired)
	on := true
	if _, err := chromedp.Call(b.ctx, fetch.Enable, fetch.EnableParams{HandleAuthRequests: &on}); err != nil {
		b.t.Fatal(err)
	}
	b.background.Go(func() {
		for e, err := range paused {
			if err != nil {
				return
			}
			_, _ = chromedp.Call(b.ctx, fetch.ContinueRequest, fetch.ContinueRequestParams{RequestID: e.RequestID}) // fails when the tab is closed
		}
	})
	b.background.Go(func() {
		for e, err := range required {
			if err != nil {
				return
			}
			mu.Lock()
			asked++
			again := asked > 1
			mu.Unlock()
			answer := &fetch.AuthChallengeResponse{Response: fetch.AuthChallengeResponseResponseProvideCredentials, Username: name, Password: password}
			if again { // the user has had enough
				answer = &fetch.AuthChallengeResponse{Response: fetch.AuthChallengeResponseResponseCancelAuth}
			}
			_, _ = chromedp.Call(b.ctx, fetch.ContinueWithAuth, fetch.ContinueWithAuthParams{RequestID: e.RequestID, AuthChallengeResponse: answer})
		}
	})
	return func() int { mu.Lock(); defer mu.Unlock(); return asked }
}

// The browser asks for a token once. A viewer sees all and can do nothing.
func TestPageWithTokens(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "tokens")
	tokens, text := make(map[web.Role]string), ""
	for _, role := range web.Roles {
		token, line, err := web.NewToken(string(role), role)
		if err != nil {
			t.Fatal(err)
		}
		tokens[role] = token
		text += line + "\n"
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w := serve(t, 2, func(cfg *daemon.Config) { cfg.Admin.TokensFile = file })
	visit := func(t *testing.T, token string) (*tab, func() int) {
		t.Helper()
		b := blank(t, w.admin)
		asked := b.user("any name", token)
		b.do(chromedp.EmulateViewport(1440, 760), chromedp.Navigate("http://"+w.admin+"/"))
		return b, asked
	}
	t.Run("viewer", func(t *testing.T) {
		b, asked := visit(t, tokens[web.Viewer])
		b.count(2)
		b.text(".row .c-state", "alive")
		b.click(".row .c-from")
		b.text(".step.e-answer", "200")
		b.text(".link", "live")
		if n := b.js(`[...document.querySelectorAll('input[type=checkbox], .danger, .actions button')].length`); n != "0" {
			t.Errorf("a viewer sees %s things to do", n)
		}
		b.accessible("viewer")
		b.shot("viewer")
		b.keys(esc)
		b.do(focus("#table"))
		b.keys(down)
		b.keys(" ")
		b.gone(".marked")
		if status := b.js(`fetch('/api/v1/calls/hangup', {method: 'POST', headers: {'Content-Type': 'application/json'},
			body: JSON.stringify({ids: ['x'], reason: 'no'})}).then((r) => r.status)`); status != "403" {
			t.Errorf("a batch of a viewer is answered %s", status)
		}
		if n := asked(); n != 1 {
			t.Errorf("the browser asked for a token %d times", n)
		}
	})
	for _, role := range []web.Role{web.Operator, web.Admin} {
		t.Run(string(role), func(t *testing.T) {
			b, _ := visit(t, tokens[role])
			b.await(`document.querySelector('.row:not(.over)')`)
			b.click(".row:not(.over) .c-from")
			b.click(".actions button")
			b.text(".said", "caller 200 to OPTIONS")
			b.click(".actions .danger")
			b.await(`document.querySelector('dialog[open]')`)
			b.do(focus("dialog input"))
			b.keys("asked by " + string(role))
			b.keys(enter)
			b.text("dialog .done", "BYE")
			b.shot(string(role))
			b.click("dialog .buttons button")
			b.text(".call .summary", "asked by "+string(role))
		})
	}
	t.Run("nobody", func(t *testing.T) {
		b, asked := visit(t, "sipvigil_not_a_token")
		b.text("body", "401")
		if n := asked(); n != 2 {
			t.Errorf("the browser asked for a token %s times", strconv.Itoa(n))
		}
	})
}
