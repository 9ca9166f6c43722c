# SPDX-License-Identifier: Apache-2.0
"""What can be seen in a picture of a person. Needs the extra ``capture``."""
