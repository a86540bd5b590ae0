"""The online voices of Xunfei (iFlytek)."""
