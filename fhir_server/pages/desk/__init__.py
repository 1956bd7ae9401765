"""The audit desk: the pages on which an institution's auditors search its log and review emergency accesses."""
