# Copyright: (c) 2026, the baremetal.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CUDA toolkits of the Python package index: version -> machine -> wheels, each a package, version, sha256 and size in bytes.

Written by tools/lock_cuda_wheels.py.
"""

from __future__ import annotations

Lock = tuple[str, str, str, int]

WHEELS: dict[str, dict[str, tuple[Lock, ...]]] = {
    "13.0.3": {
        "x86_64": (
            ("nvidia-cublas", "13.1.1.3", "37936a16db8fe4ac1f065c2139360608a543a09275cb1a1af612e08cfa065436", 423138758),
            ("nvidia-cuda-cccl", "13.0.85", "e0da7ad981f3a8aff08241b5bfc1af868742a63e2762f53a5171c492ef242649", 3120526),
            ("nvidia-cuda-crt", "13.0.88", "2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4", 134086),
            ("nvidia-cuda-nvcc", "13.0.88", "56fe502eb77625a12f25172caa3cdddb4e4c8ba2c8c17dba44b164761b380f03", 37384532),
            ("nvidia-cuda-runtime", "13.0.96", "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548", 2243632),
            ("nvidia-nvvm", "13.0.88", "c5f41ffeb6466944a026dfa5317d7d85355c119bbec279205d22f1869d1054e0", 61601415),
        ),
        "aarch64": (
            ("nvidia-cublas", "13.1.1.3", "b7a210458267ac818974c53038fbec2e969d5c99f305ab15c72522fa9f001dd5", 542848918),
            ("nvidia-cuda-cccl", "13.0.85", "6f0203e29fed809ee2b7fe9b1344df66ecab990c37d6a2e0e189b26d6c97ed7c", 3120528),
            ("nvidia-cuda-crt", "13.0.88", "ee2ea2a97073e02ee62bb27841f437332be2c248e3eac013df07997ada39c003", 134086),
            ("nvidia-cuda-nvcc", "13.0.88", "c7ff28f86a24effdc6c034fa15230c549a273e4771b10a7fec14996f8cf3307f", 32455430),
            ("nvidia-cuda-runtime", "13.0.96", "ef9bcbe90493a2b9d810e43d249adb3d02e98dd30200d86607d8d02687c43f55", 2261060),
            ("nvidia-nvvm", "13.0.88", "c4376a291d72d22a315d9d2f69bdae8f8cd83a627f75bad395cee49a0fe65dc1", 59234185),
        ),
    },
    "13.1.2": {
        "x86_64": (
            ("nvidia-cublas", "13.2.2.2", "77466d8d568b1750389a0632580e256552bf8d21ae40223e871ac8fb381020c8", 401083449),
            ("nvidia-cuda-cccl", "13.1.115", "d4a9e0590cd34290cda27f402a67fbf42e3ed043bdd927c6dd52419c860f2f92", 3430952),
            ("nvidia-cuda-crt", "13.1.115", "53c9b03f804dc7e539dd11914ec3d3fd0849791d8cd6a73f0d4df984bb339916", 132619),
            ("nvidia-cuda-nvcc", "13.1.115", "fe5c0604869dfbc837bdce9e1eef8e4f0e0d103c29e3875014ba3538c70efb74", 42261253),
            ("nvidia-cuda-runtime", "13.1.80", "dac25b52e69050e5a7a84957e6df470a85b185f8f648a99a1ab1dfce027576cf", 2297816),
            ("nvidia-nvvm", "13.1.115", "6fdf483d85d9903f9cbf84c41d99221a86e0c0511d05de3d237b4ab69c11627e", 63386729),
        ),
        "aarch64": (
            ("nvidia-cublas", "13.2.2.2", "178c9d61959c1184603951703c947b2007989cf7fea6b216cf1a31c104fbdeac", 502487700),
            ("nvidia-cuda-cccl", "13.1.115", "5d5d26df9e56af547a3699048b466d55dbab7557af030161de96abd67834512a", 3480303),
            ("nvidia-cuda-crt", "13.1.115", "eefd71d80d296391b100ab61e44bfd924308e2685d382f33a24d5c59213b43da", 132617),
            ("nvidia-cuda-nvcc", "13.1.115", "ae46f71ea6f377e7719c1084ae8ca28d4e88770ee4436478c366c15f1fcfdebe", 34717342),
            ("nvidia-cuda-runtime", "13.1.80", "5f1aa8fd779cae1a78aa8fdbaa5e4f245300baff120099d9b5ee84e3f4506a29", 2317343),
            ("nvidia-nvvm", "13.1.115", "860706eb4b5851ac1d2bacf574b582ec66901acc31051da9b0cf9a2c910a9aa9", 61001803),
        ),
    },
    "13.2.2": {
        "x86_64": (
            ("nvidia-cublas", "13.4.1.3", "a5917cb642cfb07f4a0231ee16aec7e2e0357d8cb8b1b78a0c9c68dba3e6afc7", 404870805),
            ("nvidia-cuda-cccl", "13.2.86", "35da671cf0cecd3539da214a11bb8e7634366c9e950da9c5feecf6c490a65b20", 3600135),
            ("nvidia-cuda-crt", "13.2.86", "e3ab08801bf9b1e6dc979275d25e816bb5000521b648e19c324d5eef0c79f1da", 133300),
            ("nvidia-cuda-nvcc", "13.2.86", "7d3f56c8d705bad35bbba69eb0470d90856fd5d4dc48c6a6173aaf1e9f887cf5", 44042846),
            ("nvidia-cuda-runtime", "13.2.86", "3498247680dfddce31bad102af7e3e26fc795342a3cac64722bb0fa95e7f60f0", 2323576),
            ("nvidia-nvvm", "13.2.86", "a9244f3209922d655612c11ebb4117ea1f80983cb2b215c9cccded127282cebc", 64280112),
        ),
        "aarch64": (
            ("nvidia-cublas", "13.4.1.3", "4eb1472bf92b741e7cf24da7978dde251b58ddec2092d9f6a04f3623eb4e9a15", 513048232),
            ("nvidia-cuda-cccl", "13.2.86", "05f2a2123cd7bc13b731d219d27e50281150a7985d5955bffcde0e966cefe0a2", 3652746),
            ("nvidia-cuda-crt", "13.2.86", "3294669c379ef3382804bc077fec22a48753a743c75c83c1ee3c224bb049423f", 133298),
            ("nvidia-cuda-nvcc", "13.2.86", "909140a1f942b943982b2eff120e618c94e29d75d9e33f5cd074f0e64eb411e8", 38716270),
            ("nvidia-cuda-runtime", "13.2.86", "37844957894bfdecf90243568d21a2cb251b66106915b71459a23c8e6ef2da69", 2341433),
            ("nvidia-nvvm", "13.2.86", "a502dcc2859f17a925adba495c222d44a221b9eb10e7d111a7046dc2cc883b69", 61886756),
        ),
    },
    "13.3.1": {
        "x86_64": (
            ("nvidia-cublas", "13.6.0.2", "b82c80c886cea6da6e149a5c3bdba274f12b7e4ec4b00a050b916b0446fb4153", 410473152),
            ("nvidia-cuda-cccl", "13.3.3.4.1", "cc0adc188d570b09f4d606c7dc05a42aa3d8aa082e0d60f7bbfc5b6435f627c6", 3454034),
            ("nvidia-cuda-crt", "13.3.73", "df14a17ae1c5c3171265411212246654d780f89344ea85344466c6b955247543", 157352),
            ("nvidia-cuda-nvcc", "13.3.73", "f483af83166c4fa356a21606076d553b0b4ceaebbd9912e537545080db695bdd", 44942138),
            ("nvidia-cuda-runtime", "13.3.29", "e04420616e72f563167a7733272992d7e6df6dc5cb54b2f94f9f1520ea9e30c1", 2339786),
            ("nvidia-nvvm", "13.3.73", "0e28e0858a3475e11ac67d35301cd5bf82666a1c0dc4ec4e80ceaf3a5fd1dea8", 69250424),
        ),
        "aarch64": (
            ("nvidia-cublas", "13.6.0.2", "946f6a252b1cc72d8de912c75975fd6d8ba44f67d4e5044fe764ddb909f4a688", 518599300),
            ("nvidia-cuda-cccl", "13.3.3.4.1", "067d19b4b3c9d0f2ebec9f29a311b2863db96bf98e058bbc331597d51ce818cf", 3454030),
            ("nvidia-cuda-crt", "13.3.73", "60aacc0b5e1e8b40c62abe4d1ab16440add91b99bd2f17f62dd091586b73d166", 157353),
            ("nvidia-cuda-nvcc", "13.3.73", "70f250825355d2c3aa6c7a972a0ec00f020bad66d2679e527eb4336301c904aa", 39515578),
            ("nvidia-cuda-runtime", "13.3.29", "73291e19c9dd919c140c91bda2f80b0eca487da5ee30a086ef7bc4918ecb90ea", 2356574),
            ("nvidia-nvvm", "13.3.73", "e2bcdd5783b5481445f1f0e7170cb836cc0d72999839ba850bbba6dc97b76bb8", 66984478),
        ),
    },
    "13.4.3": {
        "x86_64": (
            ("nvidia-cublas", "13.8.0.4", "9f17797dfcc048694461f4e47de17d2e3c25adf172ef723d2db0a07cd8744b89", 439317144),
            ("nvidia-cuda-cccl", "13.3.4.3.1", "48ba8e44a1162face51306d5bfd67604d9949be5acb9105dbb93734d2df8b3a4", 3930678),
            ("nvidia-cuda-crt", "13.4.92", "731ce3de11df8add8306404417a1edaede225dbe27eb233aed37c8de9d4fe720", 160871),
            ("nvidia-cuda-nvcc", "13.4.92", "a1f3bfb27299e060b444d5df1f4bcd762501326cf0fd3141ed61756816ab9a0e", 47672022),
            ("nvidia-cuda-runtime", "13.4.92", "9641f797da20ce1dd8e779b6e96d08cf9ba564cec8e8225458811ee26423f3a5", 2494438),
            ("nvidia-nvvm", "13.4.92", "e4c81cb321dd9743bcf871c5e7e8fecd7f05dea607944426e102bdda8d49e137", 72604627),
        ),
        "aarch64": (
            ("nvidia-cublas", "13.8.0.4", "e22b25be18f8b7d267dbbe2a8ec78e2c69c05762536d299dd0afa2c847115740", 552729449),
            ("nvidia-cuda-cccl", "13.3.4.3.1", "cd47e7823e3ab369a3e3df3a4c6dbb4cb02176cb85b251eec5f7c9cdfa528ec4", 3930674),
            ("nvidia-cuda-crt", "13.4.92", "212dbd6410b090f5c5b88e8671e44df5d43c591c12f232dae3197b137b616009", 160871),
            ("nvidia-cuda-nvcc", "13.4.92", "d6fc9f720c3b73b9e526f4c759dbc6581e1a300ba2c8191e3f0ed91c848a92c8", 41755976),
            ("nvidia-cuda-runtime", "13.4.92", "bef071788589550ab02846fcbc732a2b88c2b16f2cd8a0f45d98e68e8c5fb0c8", 2509438),
            ("nvidia-nvvm", "13.4.92", "6b70f49442461c1b1033e599ff021676ea3d20840be1e7f92e1d6560daf08637", 68458634),
        ),
    },
}
