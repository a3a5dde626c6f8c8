package dialog

import (
	"errors"
	"math"
	"strconv"
)

// What can be wrong with a number.
var (
	errNumber = errors.New("not a number of 32 bits")
	errMethod = errors.New("malformed method")
)

// CSeq reads a CSeq value, RFC 3261 section 20.16. A number that does not fit
// 32 bits is an error. RFC 3261 section 8.1.1.5 forbids numbers of 2^31 and
// more to who sends them; they are accepted.
func CSeq(value string) (n uint32, method string, err error) {
	first, rest := word(value)
	n, ok := number(first)
	if !ok {
		return 0, "", errNumber
	}
	method, err = onlyMethod(rest)
	if err != nil {
		return 0, "", err
	}
	return n, method, nil
}

// RAck reads a RAck value: the RSeq, and the CSeq number and method, of the
// response that PRACK acknowledges, RFC 3262 section 7.2. An RSeq is not zero,
// RFC 3262 section 7.1.
func RAck(value string) (rseq, cseq uint32, method string, err error) {
	first, rest := word(value)
	rseq, ok := number(first)
	if !ok || rseq == 0 {
		return 0, 0, "", errNumber
	}
	cseq, method, err = CSeq(rest)
	if err != nil {
		return 0, 0, "", err
	}
	return rseq, cseq, method, nil
}

// FormatRAck writes a RAck value, RFC 3262 section 7.2.
func FormatRAck(rseq, cseq uint32, method string) string {
	b := make([]byte, 0, len("4294967295 4294967295 ")+len(method))
	b = strconv.AppendUint(b, uint64(rseq), 10)
	b = append(b, ' ')
	b = strconv.AppendUint(b, uint64(cseq), 10)
	b = append(b, ' ')
	b = append(b, method...)
	return string(b)
}

// word cuts the first word off, and the LWS before it.
func word(s string) (first, rest string) {
	start := skipSpace(s, 0)
	end := start
	for end < len(s) && !isSpace(s[end]) {
		end++
	}
	return s[start:end], s[end:]
}

func onlyMethod(s string) (string, error) {
	method := trim(s)
	if !isToken(method) {
		return "", errMethod
	}
	return method, nil
}

// number reads decimal digits, and nothing else, that fit 32 bits.
func number(s string) (uint32, bool) {
	var n uint64
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		if n = n*10 + uint64(c-'0'); n > math.MaxUint32 {
			return 0, false
		}
	}
	return uint32(n), s != ""
}
