package b2bua

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"sipvigil/b2bua/dialog"
)

// loopMark is the same for a request that comes again as it came before: RFC
// 5393 section 4.2.1 has it in our Via, of everything that decides where a
// request goes. Only we can make it.
func (in *inbound) loopMark() string {
	mac := hmac.New(sha256.New, in.agent.identity.Load().tagKey)
	add := func(list ...string) {
		for _, s := range list {
			_, _ = mac.Write([]byte(s + "\n"))
		}
	}
	add("loop", in.source.String(), in.req.uri)
	for _, name := range []string{"route", "from", "to", "call-id", "cseq", "proxy-require"} {
		add(values(in.req, name)...)
	}
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

// looped says whether the request has passed here as it is, RFC 5393 section
// 4.2.2.
func (in *inbound) looped() bool {
	mark := in.loopMark()
	for _, v := range values(in.req, "via") {
		for _, one := range dialog.SplitList(v) {
			_, params, _ := strings.Cut(one, ";")
			branch, _ := dialog.Param(";"+params, "branch")
			if hmac.Equal([]byte(mark), []byte(branch[strings.LastIndexByte(branch, '.')+1:])) {
				return true
			}
		}
	}
	return false
}
